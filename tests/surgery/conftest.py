"""Small networks, one for each way in which channels travel, and helpers that several tests share."""

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from bench.measure.macs import count_macs
from bench.surgery import Groups, masked, remove
from bench.surgery.rehearsal import steady
from bench.surgery.trace import trace_groups

SHAPE = (3, 8, 8)


class Plain(nn.Module):
    """conv (bias) - conv (bias) - pool - linear - linear."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(6, 5, 3, padding=1)
        self.fc1 = nn.Linear(5, 7)
        self.fc2 = nn.Linear(7, 4)

    def forward(self, x):
        x = self.conv2(self.conv1(x).relu()).relu()
        return self.fc2(self.fc1(x.mean((2, 3))).relu())


class Flatten(nn.Module):
    """Each of conv2's channels is four inputs of the linear layer; PReLU with a slope a channel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.act = nn.PReLU(6)
        self.conv2 = nn.Conv2d(6, 5, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(5, affine=False)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.fc = nn.Linear(20, 4)

    def forward(self, x):
        x = self.norm(self.conv2(self.act(self.conv1(x))))
        return self.fc(self.pool(x).flatten(1))


class Residual(nn.Module):
    """A stem, an identity block and a projected block; BatchNorm everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU())
        self.conv1 = nn.Conv2d(6, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 6, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(6)
        self.conv3 = nn.Conv2d(6, 10, 3, stride=2, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(10)
        self.shortcut = nn.Conv2d(6, 10, 1, stride=2)
        self.fc = nn.Linear(10, 4)

    def forward(self, x):
        x = self.stem(x)
        x = (x + self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))).relu()
        x = (self.shortcut(x) + self.bn3(self.conv3(x))).relu()
        return self.fc(x.mean((2, 3)))


class Depthwise(nn.Module):
    """pointwise - depthwise - pointwise, as in MobileNetV2, with a squeeze-and-excitation gate."""

    def __init__(self) -> None:
        super().__init__()
        self.expand = nn.Conv2d(3, 8, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.spatial = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.bn2 = nn.BatchNorm2d(8)
        self.squeeze = nn.Conv2d(8, 3, 1)
        self.excite = nn.Conv2d(3, 8, 1)
        self.project = nn.Conv2d(8, 5, 1)
        self.fc = nn.Linear(5, 4)

    def forward(self, x):
        x = self.bn2(self.spatial(self.bn1(self.expand(x)).relu())).relu()
        x = x * self.excite(self.squeeze(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return self.fc(self.project(x).mean((2, 3)))


class Concat(nn.Module):
    """DenseNet's pattern: BatchNorm and convolution over the concatenation of all that came before."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 4, 3, padding=1)
        self.norm3 = nn.BatchNorm2d(10)
        self.conv3 = nn.Conv2d(10, 4, 3, padding=1)
        self.norm4 = nn.BatchNorm2d(14)
        self.fc = nn.Linear(14, 4)

    def forward(self, x):
        x = self.conv1(x)
        x = torch.cat([x, self.conv2(self.norm2(x).relu())], 1)
        x = torch.cat([x, self.conv3(self.norm3(x).relu())], 1)
        return self.fc(self.norm4(x).relu().mean((2, 3)))


NETWORKS = {cls.__name__.lower(): cls for cls in (Plain, Flatten, Residual, Depthwise, Concat)}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """These networks are too small for threads, which wait for each other where cores are shared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def build() -> Callable[..., nn.Module]:
    """Builds a network of this file by name, with weights and BatchNorm statistics that are not trivial."""

    def build(name: str, seed: int = 0) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = NETWORKS[name]()
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.running_mean.normal_(0, 0.2)
                    module.running_var.uniform_(0.5, 1.5)
                    if module.affine:
                        nn.init.uniform_(module.weight, 0.5, 1.5)
                        nn.init.normal_(module.bias, 0, 0.2)
        return network

    return build


@pytest.fixture
def random_keep() -> Callable[..., dict[str, torch.Tensor]]:
    """Random channels to keep: one or more of every group, some groups whole."""

    def random_keep(groups, seed: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return {
            group.name: torch.randperm(group.width, generator=generator)[
                : int(torch.randint(1, group.width + 1, (1,), generator=generator))
            ]
            for group in groups
        }

    return random_keep


@pytest.fixture
def prune_and_check(random_keep) -> Callable[..., Groups]:
    """Removes random channels several times; each time masked equals removed in both modes, and the cost is exact."""

    def outputs(network: nn.Module, inputs: torch.Tensor, training: bool) -> list[torch.Tensor]:
        with torch.no_grad(), steady():
            given = copy.deepcopy(network).double().train(training)(inputs.double())
        return list(given) if isinstance(given, tuple) else [given]

    def prune_and_check(network, shape, prunable=None, times=3, seed=0, modes=(False, True)) -> Groups:
        inputs = torch.randn(3, *shape, generator=torch.Generator().manual_seed(seed))
        modules = dict(network.named_modules())
        groups = trace_groups(network, shape, prunable)
        for turn in range(times):
            keep = random_keep(groups, seed * 100 + turn)
            with masked(network, groups, keep):
                expected = [outputs(network, inputs, mode) for mode in modes]
            removal = remove(network, groups, keep, inputs)
            groups = removal.groups
            for mode, before in zip(modes, expected, strict=True):
                for a, b in zip(before, outputs(network, inputs, mode), strict=True):
                    assert float((a - b).abs().max()) <= 1e-6 * float(a.max() - a.min() + 1e-6)
            assert groups.widths == {name: len(kept) for name, kept in keep.items()}
            assert groups.cost.macs(groups.widths) == count_macs(network, shape).total
            assert groups.cost.params(groups.widths) == sum(p.numel() for p in network.parameters())
        assert dict(network.named_modules()) == modules
        given = network.train()(torch.randn(4, *shape))
        sum(each.sum() for each in (given if isinstance(given, tuple) else [given])).backward()
        return groups

    return prune_and_check


@pytest.fixture
def inputs() -> torch.Tensor:
    return torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(1))
