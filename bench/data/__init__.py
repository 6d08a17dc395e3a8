"""Images and labels: what a data set is, how it is split, augmented, batched and streamed, and its fingerprint.

The data sets themselves are plugins in `datasets/`. No network is known here.
"""
