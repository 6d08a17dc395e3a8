"""What is asked: tracks, claims, targets, budgets, and the identity of a run. All that a user can write down.

Only words and numbers: nothing is loaded, built or run here.
"""
