"""HBFP: pairing by hand, the regulariser's gradient, rounds, residual groups and the target auto."""

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench import Record, RunSpec, Target, Track, Trial
from bench.checks.method.kit import check_class
from bench.methods._pairs import FilterNorms, Pairing, PairPenalty
from bench.methods.hbfp import HBFP, HBFPConfig, gone_in_round, schedule_parts
from bench.methods.hbfp_released import HBFPReleased, HBFPReleasedConfig
from bench.records.store import Store
from bench.runner.jobs import Job
from bench.runner.run import Workplace, execute
from bench.specs.track import load_track

NEAR = [[1.0, 1.1, 1.25, 9.0]]  # distances: 01 0.1, 12 0.15, 02 0.25, 23 7.75, ...


def paired(norms: list[list[float]], count: int, **settings: Any) -> Pairing:
    """From norms by point, for one layer."""
    return HBFP().pair(torch.tensor(norms)[:, None], count, HBFPConfig(**settings))


def released(norms: list[list[float]], count: int, **settings: Any) -> Pairing:
    """The same as the released code has it."""
    return HBFPReleased().pair(torch.tensor(norms)[:, None], count, HBFPReleasedConfig(**settings))


def test_each_pairs_filter_with_the_smaller_final_norm_goes() -> None:
    found = paired([[1.0, 1.1, 5.0, 5.0, 9.0, 20.0], [1.0, 1.05, 5.0, 5.3, 9.0, 20.0]], 3)
    assert found.pairs.tolist() == [[0, 1], [2, 3], [3, 4]]  # D = 0.15, 0.3, 7.7
    assert found.dropped == (0, 2, 3)
    assert found.kept().tolist() == [1, 4, 5]


def test_pairs_that_are_linked_already_are_passed_over_until_enough_filters_are_gone() -> None:
    found = paired(NEAR, 3)
    assert found.pairs.tolist() == [[0, 1], [1, 2], [2, 3]]
    assert found.dropped == (0, 1, 2)


def test_counting_pairs_those_that_share_filters_drop_fewer() -> None:
    found = paired(NEAR, 3, counted="pairs")
    assert found.pairs.tolist() == [[0, 1], [1, 2], [0, 2]]
    assert found.dropped == (0, 1)


def test_the_ranking_goes_on_to_the_last_filter() -> None:
    assert paired(NEAR, 1).dropped == (0,)
    assert paired(NEAR, 1).ranking.tolist() == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("width", "dense", "share_of", "gone"),
    [(4, 4, "present", 1), (20, 20, "present", 6), (50, 50, "present", 15), (3, 50, "present", 0), (1, 9, "dense", 0),
     (14, 16, "dense", 4), (3, 16, "dense", 2)],
)  # fmt: skip
def test_a_round_takes_its_share_of_the_filters_rounded_down(width: int, dense: int, share_of: Any, gone: int) -> None:
    assert gone_in_round(HBFPConfig(share_of=share_of), width, dense) == gone


def test_the_released_code_drops_the_larger_of_each_pair() -> None:
    assert released(NEAR, 3, script="vgg").dropped == (1, 2)


def test_the_released_code_also_drops_the_first_of_every_pair() -> None:
    assert released(NEAR, 3).dropped == (1, 2, 0)
    assert released(NEAR, 6, script="resnet").kept().numel() == 1


def test_the_released_lenet_script_squares() -> None:
    norms = [[10.0, 13.0, 8.0], [10.0, 10.0, 8.0]]  # 01: 3 or 9, 02: 4 or 8
    assert released(norms, 1, script="vgg").pairs.tolist() == [[0, 1]]
    assert released(norms, 1, script="lenet").pairs.tolist() == [[0, 2]]


def test_similar_final_norms_are_no_pair_when_the_ways_there_differ() -> None:
    assert paired([[1.0, 9.0, 1.5], [5.0, 5.0, 6.0]], 1).pairs.tolist() == [[0, 2]]


def test_tied_layers_are_compared_over_all_of_them() -> None:
    norms = torch.tensor([[[1.0, 1.0, 5.0], [1.0, 9.0, 1.5]]])  # one point, two layers
    assert HBFP().pair(norms, 1, HBFPConfig()).pairs.tolist() == [[0, 2]]


def test_the_parts_of_all_rounds_are_one_schedule() -> None:
    parts = schedule_parts(HBFPConfig(), 3)
    spent = [part for pair in parts for part in pair if part is not None]
    assert sum(share for share, _ in spent) == pytest.approx(0.5)
    assert [round(end, 6) for _, (_, end) in spent] == [0.1, 0.45, 0.55, 0.9, 1.0]
    assert all(before[1][1] == after[1][0] for before, after in pairwise(spent))
    assert [retrain is None for _, retrain in parts] == [False, False, True]


# -- the regulariser ----------------------------------------------------------------------------------------------


def gap(weight: Tensor) -> Tensor:
    norms = weight.abs().flatten(1).mean(1)
    return (norms[0] - norms[1]).abs()


def penalty_of(trial: Trial, strength: float) -> Tensor:
    """The penalty with the first two filters of conv1 paired."""
    none = Pairing(torch.empty(0, 2, dtype=torch.long), (), torch.zeros(6))
    pairings = {"conv1": Pairing(torch.tensor([[0, 1]]), (0,), torch.zeros(8)), "conv2": none}
    return PairPenalty(trial.surgery.groups, pairings, strength)(trial.network)


def test_the_penalty_is_the_exponential_of_the_gap(make_trial: Callable[..., Trial]) -> None:
    trial = make_trial()
    assert penalty_of(trial, 0.5).item() == pytest.approx(0.5 * math.exp(gap(trial.network.conv1.weight).item()))


def test_one_step_down_the_gradient_pulls_the_pair_together(make_trial: Callable[..., Trial]) -> None:
    trial = make_trial()
    weight = trial.network.conv1.weight
    (gradient,) = torch.autograd.grad(penalty_of(trial, 1.0), weight)
    assert gradient[:2].abs().min() > 0
    assert gradient[2:].abs().max() == 0
    assert gap(weight.detach() - 0.01 * gradient) < gap(weight.detach())


def test_without_pairs_there_is_no_penalty(make_trial: Callable[..., Trial]) -> None:
    trial = make_trial()
    pairings = {name: paired([[1.0] * width], 0) for name, width in (("conv1", 8), ("conv2", 6))}
    assert PairPenalty(trial.surgery.groups, pairings, 1.0)(trial.network).item() == 0


# -- the method ---------------------------------------------------------------------------------------------------


def pruned(trial: Trial, method: type[HBFP] = HBFP, **settings: Any) -> list[tuple[str, Any]]:
    """Runs the method; its calls of `train` (with the penalty) and `remove` (with the widths), in order."""
    trial.config = method.Config(**settings)
    trial._training.observers = [FilterNorms()]
    calls: list[tuple[str, Any]] = []
    train, remove = trial.train, trial.surgery.remove

    def told_train(*words: Any, penalty: Any = None, **more: Any) -> Any:
        calls.append(("train", penalty))
        return train(*words, penalty=penalty, **more)

    def told_remove(keep: Any) -> None:
        calls.append(("remove", {name: len(kept) for name, kept in keep.items()}))
        remove(keep)

    trial.train, trial.surgery.remove = told_train, told_remove  # type: ignore[method-assign]
    method().prune(trial)
    return calls


def test_rounds_of_optimise_remove_and_retrain_end_at_the_target(make_trial: Callable[..., Trial]) -> None:
    trial = make_trial(target="macs=0.25", budget=12.0)
    calls = pruned(trial)
    assert [name for name, _ in calls] == ["train", "remove", "train"] * 3 + ["train", "remove"]
    widths = [what for name, what in calls if name == "remove"]
    assert [(each["conv1"], each["conv2"]) for each in widths] == [(6, 5), (5, 4), (4, 3), (3, 3)]
    assert trial.ledger.left > 0


def test_the_regulariser_is_live_while_optimising_and_absent_while_retraining(
    make_trial: Callable[..., Trial],
) -> None:
    penalties = [what for name, what in pruned(make_trial(target="macs=0.25", budget=12.0)) if name == "train"]
    assert all(isinstance(penalty, PairPenalty) for penalty in penalties[::2])
    assert penalties[1::2] == [None] * 3


def test_the_released_codes_training_is_plain(make_trial: Callable[..., Trial]) -> None:
    calls = pruned(make_trial(target="macs=0.25", budget=12.0), HBFPReleased)
    assert all(what is None for name, what in calls if name == "train")


def test_without_optimising_there_is_only_retraining(make_trial: Callable[..., Trial]) -> None:
    calls = pruned(make_trial(target="macs=0.25", budget=12.0), optimise=0.0)
    assert [name for name, _ in calls] == ["remove", "train"] * 3 + ["remove"]


class Residual(nn.Module):
    """A stem and one identity block: stem and conv2 are tied, conv1 is inside."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.conv1 = nn.Conv2d(8, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(6, 8, 3, padding=1)
        self.fc = nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.stem(images).relu()
        return self.fc((hidden + self.conv2(self.conv1(hidden).relu())).relu().mean((2, 3)))


def test_layers_that_an_add_ties_lose_the_same_channels(make_trial: Callable[..., Trial]) -> None:
    trial = make_trial(Residual())
    assert [group.layers for group in trial.surgery.groups] == [("stem", "conv2"), ("conv1",)]
    pruned(trial)
    assert trial.network.stem.out_channels == trial.network.conv2.out_channels < 8
    assert trial.network.conv1.out_channels < 6


def test_inner_leaves_tied_layers_alone(make_trial: Callable[..., Trial]) -> None:
    trial = make_trial(Residual())
    pruned(trial, groups="inner")
    assert trial.network.stem.out_channels == 8
    assert trial.network.conv1.out_channels < 6
    assert trial.surgery.ratio() == pytest.approx(0.5, abs=0.1)


def test_the_observer_gives_each_layers_norms(make_trial: Callable[..., Trial]) -> None:
    trial = make_trial(Residual())
    seen = FilterNorms().observe(trial.network, trial.surgery.groups)
    assert {name: norms.shape for name, norms in seen.items()} == {"stem": (2, 8), "conv1": (1, 6)}
    assert seen["stem"][1, 3] == pytest.approx(trial.network.conv2.weight[3].detach().abs().sum().item())


def test_every_round_pairs_by_the_whole_history_of_the_filters_that_are_left(
    make_trial: Callable[..., Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    points: list[dict[str, torch.Size]] = []
    real = HBFP.ways

    def seen(self: HBFP, trial: Trial, history: Any, groups: Any) -> dict[str, Tensor]:
        ways = real(self, trial, history, groups)
        points.append({name: way.shape for name, way in ways.items()})
        assert all(way.shape[2] == group.width for way, group in zip(ways.values(), groups, strict=True))
        return ways

    monkeypatch.setattr(HBFP, "ways", seen)
    pruned(make_trial(target="macs=0.25", budget=12.0))
    counts = [shapes["conv1"][0] for shapes in points]
    assert len(counts) == 4
    assert all(after - before >= 5 for before, after in pairwise([0, *counts[1:]]))
    points.clear()
    pruned(make_trial(target="macs=0.25", budget=12.0), history="round")
    assert all(5 <= shapes["conv1"][0] <= 7 for shapes in points[1:])


def test_rounds_that_are_too_short_become_fewer(make_trial: Callable[..., Trial]) -> None:
    calls = pruned(make_trial(target="macs=0.25", budget=4.0))  # 24 steps: 8 to retrain with, 3 to optimise with
    assert [name for name, _ in calls] == ["train", "remove", "train", "train", "remove"]


@pytest.mark.slow
def test_each_round_on_mnist_has_five_points_or_more(
    real_data: Path | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if real_data is None:
        pytest.skip("no MNIST here: set BENCH_TEST_DATA")
    counts: list[int] = []
    real = HBFP.ways

    def seen(self: HBFP, trial: Trial, history: Any, groups: Any) -> dict[str, Tensor]:
        counts.append(len(history.observed(FilterNorms)))
        return real(self, trial, history, groups)

    monkeypatch.setattr(HBFP, "ways", seen)
    fields = load_track("mnist-lenet5").model_dump(mode="json")
    fields |= {"floor": 0.5, "dense": {**fields["dense"], "epochs": 0.1}, "budget": {"dense_epochs": 0.5}}
    track = Track.model_validate({**fields, "name": "mnist-short"})
    spec = RunSpec("hbfp", HBFPConfig(history="round").model_dump(mode="json"), "", track, "dense_epochs",
                   Target("macs", 0.1), 0)  # fmt: skip
    record = execute(Job(spec, "", (FilterNorms,)), Workplace(Store(tmp_path), real_data))
    assert record.status == "ok", record.error
    assert len(counts) > 3
    assert min(counts) >= 5


def test_a_run_pairs_from_the_dense_trainings_history(run: Callable[..., Record]) -> None:
    record = run("hbfp")
    assert record.status == "ok"
    assert record.ledger["prune"].images_trained > 0
    assert record.config["pairs"] == 0.3


def test_the_target_auto_stops_by_itself(run: Callable[..., Record]) -> None:
    record = run("hbfp", "auto", settings=("max_drop=0.02",))
    assert record.status == "ok", record.error
    assert record.ratios is not None
    assert record.ratios.filters_removed > 0
    assert record.ledger["search"].images_forward > 0


def test_the_released_rounds_stop_at_the_target_though_a_pair_may_drop_two() -> None:
    (targets,) = check_class(HBFPReleased, only=("targets",))
    assert targets.outcome == "passed", targets.detail
