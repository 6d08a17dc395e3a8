"""The command line: what a user types becomes a request, and what comes back becomes a table. It holds no logic.

All other packages may be imported here; none imports this one.
"""
