"""From a command to records: the plan of jobs, the dense network they share, one run in its order, many in workers.

`run` is the one module that knows the order of a run. What a method may do within it is `bench.trial`'s.
"""
