"""What a network is and does, as numbers: accuracy, MACs, parameters, bytes, latency, peak memory.

A measure only looks: nothing is trained, charged or changed, and no run is known here.
"""
