"""A sample of the random prunings of `tests/benchmarks/random_prunings.py`, on small networks of many structures."""

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bench.surgery.trace import trace_groups

_PATH = Path(__file__).parent.parent / "benchmarks" / "random_prunings.py"
_SPEC = importlib.util.spec_from_file_location("random_prunings", _PATH)
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)

SHAPE = (3, 8, 8)


class Small(nn.Module):
    """A residual block, a depthwise convolution, a concatenation, squeeze and excitation, and dropout."""

    def __init__(self):
        super().__init__()
        self.stem, self.bn = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.depthwise, self.point = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 8, 1)
        self.side, self.squeeze, self.excite = nn.Conv2d(3, 6, 1), nn.Conv2d(14, 4, 1), nn.Conv2d(4, 14, 1)
        self.merge, self.drop, self.fc = nn.Conv2d(14, 7, 3), nn.Dropout(0.5), nn.Linear(7, 5)

    def forward(self, x):
        y = F.relu(self.bn(self.stem(x)))
        y = y + self.point(F.relu(self.depthwise(y)))
        z = torch.cat([y, self.side(x)], 1)
        z = z * torch.sigmoid(self.excite(F.relu(self.squeeze(z.mean((2, 3), keepdim=True)))))
        return self.fc(self.drop(F.relu(self.merge(z)).mean((2, 3))))


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    network = Small()
    return network, trace_groups(network, SHAPE)


@pytest.mark.parametrize("seed", range(10))
def test_cost_and_outputs_of_random_prunings(small, seed):
    network, groups = small
    assert len(groups) >= 4
    assert _MODULE.faults(network, SHAPE, groups, seed) == []


def test_a_wrong_index_is_a_fault(small):
    from dataclasses import replace

    network, groups = small
    wrong = tuple(
        replace(
            group,
            slices=tuple(
                replace(each, index=each.index.roll(1, 0)) if (each.tensor, each.dim) == ("merge.weight", 1) else each
                for each in group.slices
            ),
        )
        for group in groups
    )
    assert any("outputs differ" in fault for fault in _MODULE.faults(network, SHAPE, replace(groups, offered=wrong), 1))
