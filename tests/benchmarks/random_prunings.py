"""Random prunings: is predicted cost the counted one, and the removed network the masked one, in both modes?

    python tests/benchmarks/random_prunings.py --prunings 200
    python tests/benchmarks/random_prunings.py --prunings 4 timm:resnet18 "a U-Net"

A sample of it is in the suite (`tests/surgery/test_random_prunings.py`).
"""

import argparse
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from bench.errors import BenchError
from bench.measure.macs import count_macs
from bench.surgery import masked
from bench.surgery.groups import Groups
from bench.surgery.proof import bare_copy
from bench.surgery.remove import plan_removal, resize_network
from bench.surgery.trace import trace_groups

__all__ = ["faults", "random_keep"]

TOLERANCE = 1e-6  # of the outputs' spread, in float64
_RATES = ("p", "drop_prob", "dropout", "attention_dropout", "drop_rate")


def random_keep(groups: Groups, generator: torch.Generator) -> dict[str, Tensor]:
    """Random channels of random widths, one channel and all of them included, for about two groups in three."""
    keep = {}
    for group in groups:
        if len(groups) == 1 or torch.rand(1, generator=generator) < 0.67:
            width = int(torch.randint(1, group.width + 1, (1,), generator=generator))
            keep[group.name] = torch.randperm(group.width, generator=generator)[:width]
    return keep


def faults(network: nn.Module, shape: tuple[int, int, int], groups: Groups, seed: int) -> list[str]:
    """What is wrong with one random pruning of the network, whose groups these are; empty if nothing."""
    generator = torch.Generator().manual_seed(seed)
    keep = random_keep(groups, generator)
    images = torch.randn(4, *shape, dtype=torch.float64, generator=generator)
    widths = {group.name: len(keep.get(group.name, range(group.width))) for group in groups}
    off = _without_chance(bare_copy(network).double())
    gone = _without_chance(bare_copy(network).double())
    resize_network(gone, plan_removal(gone, groups, keep))
    found = []
    predicted, counted = groups.cost.macs(widths), count_macs(gone, shape).total
    if predicted != counted:
        found.append(f"predicted {predicted} MACs, counted {counted}")
    params = sum(parameter.numel() for parameter in gone.parameters())
    if groups.cost.params(widths) != params:
        found.append(f"predicted {groups.cost.params(widths)} parameters, counted {params}")
    for training in (False, True):
        with masked(off, groups, keep):
            expected = _outputs(off.train(training), images)
        share = _difference(expected, _outputs(gone.train(training), images))
        if not share <= TOLERANCE:
            mode = "training" if training else "evaluation"
            found.append(f"in {mode} mode masked and removed outputs differ by {share:.2g} of their spread")
    return found


def _without_chance(network: nn.Module) -> nn.Module:
    """Dropout and stochastic depth at rate zero."""
    for module in network.modules():
        for name in _RATES:
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    return network


def _outputs(network: nn.Module, images: Tensor) -> list[Tensor]:
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return [leaf for leaf in pytree.tree_leaves(network(images.clone())) if isinstance(leaf, Tensor)]


def _difference(expected: list[Tensor], given: list[Tensor]) -> float:
    shares = [0.0]
    for a, b in zip(expected, given, strict=True):
        spread = float((a.flatten(1).amax(0) - a.flatten(1).amin(0)).max())
        shares.append(float((a - b).abs().max()) / max(spread, 1e-12 * float(a.abs().max()), 1e-300))
    return max(shares)


def _run(names: list[str], prunings: int) -> Iterator[str]:
    sys.path.insert(0, str(Path(__file__).parent))
    from surveyed_networks import SURVEYED

    chosen = [each for each in SURVEYED if not names or each.name in names]
    if not chosen:
        raise SystemExit(f"no such network. There are: {', '.join(each.name for each in SURVEYED)}")
    for place, each in enumerate(chosen):
        mine = len(range(place, prunings, len(chosen)))
        began, bad = time.perf_counter(), 0
        network = each.build()
        try:
            groups = trace_groups(network, each.shape)
        except BenchError as error:
            yield f"FAULT {each.name}: {str(error)[:300]}"
            continue
        for seed in range(mine):
            for fault in faults(network, each.shape, groups, seed):
                bad += 1
                yield f"FAULT {each.name}, seed {seed}: {fault}"
        yield f"{each.name}: {mine} prunings of {len(groups)} groups, {bad} faults, {time.perf_counter() - began:.0f} s"


def main() -> int:
    """Exit code 1 if anything differed."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="networks; default: all")
    parser.add_argument("--prunings", type=int, default=200, help="over all networks together")
    options = parser.parse_args()
    torch.set_num_threads(1)
    wrong = False
    for line in _run(options.names, options.prunings):
        print(line, flush=True)
        wrong |= line.startswith("FAULT")
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
