"""The leaderboard: who is better than whom, from records alone; nothing here trains, measures or imports torch.

Rooms: `stats` (numbers in, numbers out), `board` (what may be compared, and how it is ranked), `compare` (runs, and the
gate), `verdicts` (claims beside measurements), `pages` (the static folder), `wandb_report` (the same in W&B). `tracks`,
`claims` and `results` are data.
"""
