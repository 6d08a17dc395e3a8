"""Published numbers beside measured ones, with a verdict for each. What a claim is stands in `bench.specs.claim`."""
