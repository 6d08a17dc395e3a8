"""What contributors are held to: `method` checks a plugin by running it, `record` a submitted result by its numbers.

Nothing here is needed for a run, and nothing but the command line imports it.
"""
