"""Pruning methods and controls, one file each; found by listing this folder."""
