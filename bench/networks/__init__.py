"""The networks: one class each, found by name, built for any input and initialised again from a seed.

Which channels may go is `bench.surgery`'s to find out; training is `bench.training`'s.
"""
