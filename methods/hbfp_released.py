"""`hbfp-released`: history based filter pruning as its authors' released code does it."""

from typing import Literal

import numpy as np
from pydantic import Field
from torch import Tensor

from bench.methods._clusters import removal_order
from bench.methods._pairs import Pairing, links, nearest_pairs
from bench.methods.hbfp import HBFP, HBFPConfig


class HBFPReleasedConfig(HBFPConfig):
    """Settings of `hbfp-released`: those of `hbfp`, and which of the three scripts is followed."""

    counted: Literal["filters", "pairs"] = Field("pairs", description="as in hbfp; the released code counts pairs")
    history: Literal["whole", "round"] = Field("round", description="as in hbfp; released: the last round's")
    script: Literal["lenet", "vgg", "resnet"] = Field("lenet", description="LeNet-5's, VGG-16's or ResNet-56's")


class HBFPReleased(HBFP):
    """`hbfp` with what the authors' code does in place of what the paper says.

    Source: the Keras scripts of "History_Based_Filter_Pruning" (2020). The regulariser is a constant there, computed
    once before training, so that it has no gradient and optimising is plain training; of each pair the filter with the
    larger sum of norms goes; the LeNet-5 script compares squared distances, and it and the ResNet-56 script also drop
    the first filter of every pair.

    Deviations: overlapping pairs are a forest here, too; the ResNet script takes the first two of its candidates by
    index, and other indices in each of the layers that an add ties. For the rest see `hbfp`.
    """

    name = "hbfp-released"
    reference = "Basha et al. 2024, released code"
    Config = HBFPReleasedConfig  # type: ignore[assignment]
    regularised = False

    def pair(self, ways: Tensor, count: int, config: HBFPConfig) -> Pairing:
        """The first `count` pairs, and the filters that the script drops for them; one stays."""
        assert isinstance(config, HBFPReleasedConfig)
        pairs = nearest_pairs(ways, squared=config.script == "lenet")
        linked = links(pairs, importance=-ways.sum((0, 1)))
        width = ways.shape[2]
        dropped = [out for place, out in linked if place < count]
        if config.script != "vgg":
            dropped += [first for first in pairs[:count, 0].tolist() if first not in dropped]
        dropped = list(dict.fromkeys(dropped))[: width - 1]
        order = [*dropped, *(out for _, out in linked if out not in dropped)]
        return Pairing(pairs[:count], tuple(dropped), removal_order(order, np.arange(width)))
