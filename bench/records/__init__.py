"""Results: the record of a run, the store that keeps records and networks, and how their numbers are written.

A record is all that tables, pages and W&B are made from. Running and ranking are elsewhere.
"""
