"""`magnitude` and `random-weights`: the schedule by hand, thresholds, sizes."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from bench import Hook, Record, Step, Trial
from bench.methods.magnitude import Cutting, Magnitude, MagnitudeConfig, ratio_at
from bench.methods.random_weights import RandomWeights

Make = Callable[..., Trial]


def test_the_schedule_is_cubic_by_hand() -> None:
    # sparsity 0.9: after half the cuts 0.9 (1 - 1/8) = 0.7875 is gone
    assert [ratio_at(cut, 4, 0.1) for cut in (0, 2, 4)] == pytest.approx([1.0, 0.2125, 0.1])
    assert ratio_at(1, 4, 0.1) == pytest.approx(0.1 + 0.9 * 0.75**3)


class Counting(Hook):
    """Remaining weights at every step."""

    def __init__(self) -> None:
        self.remaining: list[int] = []

    def before_step(self, step: Step) -> None:
        self.remaining.append(step.weights.remaining())


def test_cuts_are_evenly_spaced_over_the_training(make_trial: Make) -> None:
    trial = make_trial(target="params=0.2")
    trial.config = MagnitudeConfig(steps=4)
    counting = Counting()
    trial.train(epochs=2, hooks=[Cutting(trial), counting])  # 12 steps
    wanted = [trial.surgery.weights_to_keep(ratio_at(cut, 4, 0.2)) for cut in range(4)]
    assert counting.remaining == [count for count in wanted for _ in range(3)]


def pruned(trial: Trial, **settings: Any) -> dict[str, Tensor]:
    trial.config = MagnitudeConfig(**settings)
    Magnitude().prune(trial)
    return trial.surgery.weights.masks


def test_one_threshold_runs_over_all_layers(make_trial: Make) -> None:
    trial = make_trial(target="params=0.3")
    masks = pruned(trial, steps=1)
    sizes = {name: trial.network.get_parameter(name).detach().abs() for name in masks}
    kept = torch.cat([sizes[name][mask] for name, mask in masks.items()])
    gone = torch.cat([sizes[name][~mask] for name, mask in masks.items()])
    assert kept.min() > gone.max()
    assert trial.ledger.phases["prune"].images_trained == 0
    shares = [mask.float().mean().item() for mask in masks.values()]
    assert max(shares) > 1.5 * min(shares)


def test_uniform_keeps_the_same_share_of_every_layer(make_trial: Make) -> None:
    trial = make_trial(target="params=0.3")
    masks = pruned(trial, steps=1, scope="uniform")
    share = trial.surgery.weights.remaining() / trial.surgery.weights.total
    for names in trial.surgery.weights.layers.values():
        kept, total = (sum(int(f(masks[name])) for name in names) for f in (torch.sum, torch.numel))
        assert kept == pytest.approx(share * total, abs=1)


def test_weights_that_were_cut_stay_cut(make_trial: Make) -> None:
    trial = make_trial(target="params=0.2")
    masks: list[dict[str, Tensor]] = []

    class Watching(Hook):
        def before_step(self, step: Step) -> None:
            masks.append(step.weights.masks)

    trial.config = MagnitudeConfig(steps=6)
    trial.train(epochs=2, hooks=[Cutting(trial), Watching()])
    for before, after in pairwise(masks):
        assert not any(bool((after[name] & ~before[name]).any()) for name in after)


@pytest.mark.parametrize("method", ["magnitude", "random-weights"])
def test_a_run_meets_its_size_with_biases_counted(run: Callable[..., Record], method: str) -> None:
    record = run(method, "params=0.1")
    assert record.status == "ok", record.error
    assert record.kind == "unstructured"
    assert record.pruned is not None and record.ratios is not None
    assert record.pruned.nonzero == pytest.approx(43_108, abs=2)
    assert record.pruned.params == 431_080
    assert record.ratios.compression == pytest.approx(10, rel=1e-3)


def test_random_weights_draws_from_the_seed_alone_and_from_every_layer(make_trial: Make) -> None:
    def masks(seed: int) -> dict[str, Tensor]:
        trial = make_trial(target="params=0.3", seed=seed)
        RandomWeights().prune(trial)
        return trial.surgery.weights.masks

    first = masks(0)
    torch.manual_seed(123)
    again, other = masks(0), masks(1)
    assert all(torch.equal(mask, again[name]) for name, mask in first.items())
    assert any(not torch.equal(mask, other[name]) for name, mask in first.items())
    assert all(0 < mask.float().mean() < 0.6 for mask in (first["conv1.weight"], first["conv2.weight"]))
