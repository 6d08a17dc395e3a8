"""The statistics of a ranking as functions of arrays: numbers in, numbers out. No record, no method, no page."""
