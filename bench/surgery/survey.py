"""What structured pruning can do with a network, before anything is trained: for `bench groups` and the docs' table.

Shares are counted on a copy whose groups were narrowed, not read off the groups: what a removal does not make cheaper
does not count as prunable.
"""

import time
from dataclasses import dataclass, field

import torch
from torch import nn

from bench.errors import NotPrunable, SurgeryError
from bench.measure.macs import count_macs
from bench.specs.target import Target
from bench.surgery.fit import l1_norms
from bench.surgery.groups import Groups
from bench.surgery.proof import bare_copy
from bench.surgery.remove import plan_removal, resize_network
from bench.surgery.surgery import Surgery
from bench.surgery.trace import trace_groups

__all__ = ["Attempt", "Survey", "survey"]

_PROOF_IMAGES = 4


@dataclass(frozen=True)
class Attempt:
    """One pruning to a target by l1 norms, the same share of every group.

    Attributes:
        target: such as `macs=0.5`.
        ratio: share of the dense network that was reached, counted after the removal; None if it was not made.
        refusal: why not.
        proof: what the proof of the removal found.
    """

    target: str
    ratio: float | None = None
    refusal: str | None = None
    proof: str | None = None


@dataclass(frozen=True)
class Survey:
    """What groups a network offers.

    Attributes:
        macs, params: of the network.
        groups: how many groups of channels.
        channels: their widths together.
        share: of the MACs that are in modules which removing channels makes cheaper, 0 to 1.
        least_ratio: MACs with one channel in each group, relative to the network's.
        left_out: group name -> why it is not offered.
        seconds: to find and rehearse the groups.
        forward_seconds: one forward pass of one image, for comparison.
        refusal: why the network has no groups at all; None if it has.
        attempts: prunings that were tried.
    """

    macs: int
    params: int
    groups: int = 0
    channels: int = 0
    share: float = 0.0
    least_ratio: float = 1.0
    left_out: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    forward_seconds: float = 0.0
    refusal: str | None = None
    attempts: tuple[Attempt, ...] = ()


def survey(
    network: nn.Module,
    shape: tuple[int, int, int],
    prunable: tuple[str, ...] | None = None,
    targets: tuple[str, ...] = (),
) -> Survey:
    """Finds a network's groups and tries what they allow; the network is left as it was.

    Args:
        network: the network.
        shape: of one image, (C, H, W).
        prunable: patterns of layer names; None for what is offered by default.
        targets: sizes to prune copies to, such as `macs=0.5`.

    Raises:
        UncountedOperator, UsageError: the network's MACs cannot be counted.
    """
    counted = count_macs(network, shape)
    params = sum(parameter.numel() for parameter in network.parameters())
    forward_seconds = _forward_seconds(network, shape)
    began = time.perf_counter()
    try:
        groups = trace_groups(network, shape, prunable)
    except NotPrunable as error:
        seconds = time.perf_counter() - began
        return Survey(counted.total, params, seconds=seconds, forward_seconds=forward_seconds, refusal=str(error))
    seconds = time.perf_counter() - began
    narrower = count_macs(_halved(network, groups), shape).by_layer
    cheaper = (macs for name, macs in counted.by_layer.items() if narrower.get(name, 0) < macs)
    return Survey(
        macs=counted.total,
        params=params,
        groups=len(groups),
        channels=sum(group.width for group in groups),
        share=sum(cheaper) / counted.total,
        least_ratio=groups.cost.macs({group.name: 1 for group in groups}) / counted.total,
        left_out={each.name: each.reason for each in groups.left_out},
        seconds=seconds,
        forward_seconds=forward_seconds,
        attempts=tuple(_tried(network, shape, prunable, counted.total, params, target) for target in targets),
    )


def _halved(network: nn.Module, groups: Groups) -> nn.Module:
    """A copy with half of every group's channels."""
    copy = bare_copy(network)
    keep = {group.name: torch.arange(max(1, group.width // 2)) for group in groups}
    resize_network(copy, plan_removal(copy, groups, keep))
    return copy


def _tried(
    network: nn.Module,
    shape: tuple[int, int, int],
    prunable: tuple[str, ...] | None,
    macs: int,
    params: int,
    target: str,
) -> Attempt:
    copy = bare_copy(network)
    images = torch.randn(_PROOF_IMAGES, *shape, generator=torch.Generator().manual_seed(0))
    surgery = Surgery(copy, shape, prunable, macs, params, Target.parse(target), images)
    try:
        removal = surgery.remove(surgery.fit(l1_norms(surgery.groups)))
    except (NotPrunable, SurgeryError) as error:
        return Attempt(target, refusal=str(error))
    ratio = surgery.ratio({})
    if surgery.target.measure == "macs":
        ratio = count_macs(copy, shape).total / macs
    return Attempt(target, ratio, proof=None if removal.proof is None else removal.proof.words())


def _forward_seconds(network: nn.Module, shape: tuple[int, int, int]) -> float:
    copy = bare_copy(network).eval()
    parameter = next(copy.parameters())
    image = torch.zeros(1, *shape, device=parameter.device, dtype=parameter.dtype)
    taken = []
    with torch.inference_mode():
        for _ in range(3):
            began = time.perf_counter()
            copy(image)
            taken.append(time.perf_counter() - began)
    return min(taken)
