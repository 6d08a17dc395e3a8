"""Structural surgery: channel groups, masks, fitting to a size, removal with proof, unstructured masks, files."""

from bench.surgery.architecture import load_tensors_into, read_network, save_network
from bench.surgery.cost import Cost
from bench.surgery.fit import fit, l1_norms
from bench.surgery.groups import ChannelGroup, Groups, SkippedGroup, Slice
from bench.surgery.keep import Keep, full_keep
from bench.surgery.mask import masked
from bench.surgery.remove import Removal, SlicePlan, remove
from bench.surgery.surgery import Surgery
from bench.surgery.weights import WeightMasks

__all__ = [
    "ChannelGroup",
    "Cost",
    "Groups",
    "Keep",
    "Removal",
    "SkippedGroup",
    "Slice",
    "SlicePlan",
    "Surgery",
    "WeightMasks",
    "fit",
    "full_keep",
    "l1_norms",
    "load_tensors_into",
    "masked",
    "read_network",
    "remove",
    "save_network",
]
