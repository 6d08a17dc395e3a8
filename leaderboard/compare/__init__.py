"""Runs held against each other: `bench compare` (single runs) and `bench gate` (a store and its baseline). No ranks."""
