"""Weights & Biases, as an adapter over the store: a run's numbers, networks and tables, online or later.

It only copies what records say; if it fails, the run does not. The report is `leaderboard/wandb_report`'s.
"""
