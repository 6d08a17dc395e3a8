"""Which runs are compared with which, and what follows: rows, tables, rank intervals, findings. No drawing, no HTML."""
