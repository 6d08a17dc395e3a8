"""One training call: batches, losses, schedules, optimiser, hooks and observers, and when it ends.

It knows no budget, no method and no track: `bench.trial` charges for it and keeps it in the journal.
"""
