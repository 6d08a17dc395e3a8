"""Journals: a run's calls, kept as they happen, so that a killed run goes on where it stopped.

`contract` is what a trial needs of a journal, `files` keeps one in a run's folder, `checkpoint` keeps a training call
that is under way, and `codec` turns values into JSON and tensors and back.
"""
