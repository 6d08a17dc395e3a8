"""OLMP: thresholds, mask rule and splicing by hand, the search's constraint and budget, sizes, resuming."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench import Record, Step, Trial, UsageError
from bench.methods import olmp
from bench.methods._ncs import Found
from bench.methods.olmp import INFEASIBLE, OLMP, Adjusting, Layer, OLMPConfig, hysteresis_magnitude, reference_layers
from bench.methods.olmp_released import OLMPReleased, OLMPReleasedConfig
from bench.trial.phases import finetune

Make = Callable[..., Trial]
LAYERS = {"conv1": ("conv1.weight",), "conv2": ("conv2.weight",), "fc": ("fc.weight", "fc.bias")}


def adjusting(trial: Trial, released: bool = False, **settings: Any) -> Adjusting:
    """The hook, as `OLMP.prune` makes it."""
    trial.config = OLMPConfig(**settings)
    return Adjusting(trial, reference_layers(trial.network, trial.surgery.weights.layers, trial.config), released)


def step_of(trial: Trial, index: int = 0, progress: float = 0.0) -> Step:
    """A step in which the network answers the first class for every image."""

    def forward(images: Tensor) -> Tensor:
        return torch.eye(4)[torch.zeros(len(images), dtype=torch.long)]

    def sample(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return torch.zeros(count, 1, 8, 8), torch.zeros(count, dtype=torch.long)

    images, labels = sample(16, trial.rng)
    weights = trial.surgery.weights
    return Step(index, progress, trial.network, images, labels, weights, forward, sample, lambda *_batch: {})


# -- thresholds and masks -----------------------------------------------------------------------------------------


def test_thresholds_are_mean_plus_r_std_of_the_layers_nonzero_weights_and_biases() -> None:
    network = nn.Sequential(nn.Linear(2, 2))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[1.0, -3.0], [0.0, 5.0]]))
        network[0].bias.copy_(torch.tensor([-7.0, 0.0]))
    (layer,) = reference_layers(network, {"0": ("0.weight", "0.bias")}, OLMPConfig())
    # |w| without zeros: 1, 3, 5, 7: mean 4, variance (9 + 1 + 1 + 9) / 4 = 5
    assert (layer.mean, layer.std) == (4.0, pytest.approx(5**0.5))
    assert layer.threshold(2.0) == pytest.approx(4 + 2 * 5**0.5)
    assert layer.threshold(-2.0) == 0.0


def test_a_weight_goes_at_nine_tenths_of_its_threshold_and_comes_back_at_eleven() -> None:
    weight = torch.tensor([0.89, 0.91, 1.09, 1.11, -0.91, -1.09, -1.11])
    on, off = torch.ones(7, dtype=torch.bool), torch.zeros(7, dtype=torch.bool)
    assert (hysteresis_magnitude(weight, on) > 1.0).tolist() == [False, True, True, True, True, True, True]
    assert (hysteresis_magnitude(weight, off) > 1.0).tolist() == [False, False, False, True, False, False, True]


def test_masks_follow_each_layers_own_threshold_biases_too(make_trial: Make) -> None:
    trial = make_trial(target="auto")
    hook = adjusting(trial)
    hook.r = [0.5, 1.0, 0.0]
    masks = hook.masks()
    sizes = {name: trial.network.get_parameter(name).detach().abs() for name in masks}
    both = torch.cat([sizes["fc.weight"].flatten(), sizes["fc.bias"]])
    assert torch.equal(masks["fc.bias"], sizes["fc.bias"] > 0.9 * both.mean())
    conv2 = sizes["conv2.weight"]
    assert torch.equal(masks["conv2.weight"], conv2 > 0.9 * (conv2.mean() + conv2.std(correction=0)))
    assert set(hook.masks([1])) == {"conv2.weight"}


@pytest.mark.parametrize(
    ("bounds", "given"), [((2.0,), [2.0] * 3), ((9.0, 2.0), [9.0, 9.0, 2.0]), ((15.0, 6.0, 2.0), [15.0, 6.0, 2.0])]
)
def test_bounds_are_for_all_layers_or_for_large_and_small_ones_or_for_each(
    make_trial: Make, bounds: Any, given: list[float]
) -> None:
    # the layers have 72, 432 and 28 parameters: a tenth of them is 53
    layers = reference_layers(make_trial().network, LAYERS, OLMPConfig(bounds=bounds, small=0.1))
    assert [layer.bound for layer in layers] == given


def test_bounds_for_another_number_of_layers_are_refused_with_the_layers(make_trial: Make) -> None:
    with pytest.raises(UsageError, match="4 numbers for 3 layers: conv1, conv2, fc"):
        reference_layers(make_trial().network, LAYERS, OLMPConfig(bounds=(1.0, 2.0, 3.0, 4.0)))


# -- splicing -----------------------------------------------------------------------------------------------------


def test_layers_take_part_with_a_probability_that_falls_with_the_steps(make_trial: Make) -> None:
    trial = make_trial(target="auto")
    hook = adjusting(trial, gamma=1.0, gamma_conv=0.0)
    hook.searched = hook.searches
    seen = dict.fromkeys(LAYERS, 0)
    for _ in range(400):
        trial.surgery.weights.load_state_dict({n: torch.ones_like(m) for n, m in trial.surgery.weights.masks.items()})
        hook.before_step(step_of(trial, index=3))
        for layer, (weight, *_) in LAYERS.items():
            seen[layer] += not bool(trial.surgery.weights.masks[weight].all())
    assert seen["conv1"] == seen["conv2"] == 400
    assert 70 < seen["fc"] < 130  # 400 / (1 + 3)


def test_a_masked_weight_goes_on_learning_and_comes_back_when_it_has_grown(make_trial: Make) -> None:
    trial = make_trial(target="auto", weight_decay=0.0)
    trial.config = OLMPConfig(searches=1, evaluations=2, adjust=0.5)
    came_back = []

    class Watching(Adjusting):
        def before_step(self, step: Step) -> None:
            before = step.weights.masks
            super().before_step(step)
            came_back.append(sum(int((new & ~before[name]).sum()) for name, new in step.weights.masks.items()))

    hook = Watching(trial, reference_layers(trial.network, LAYERS, trial.config), released=False)
    trial.surgery.weights.straight_through = True
    trial.train(epochs=3, hooks=[hook])
    assert sum(came_back[1:]) > 0


def test_masks_are_frozen_after_adjusting(make_trial: Make) -> None:
    trial = make_trial(target="params=0.3")
    trial.config = OLMPConfig()
    OLMP().prune(trial)
    masks = trial.surgery.weights.masks
    before = trial.network.conv2.weight.detach().clone()
    finetune(trial)
    assert all(torch.equal(masks[name], mask) for name, mask in trial.surgery.weights.masks.items())
    assert trial.ledger.phases["finetune"].images_trained > 0
    gone = ~masks["conv2.weight"]
    assert gone.any() and not torch.equal(before[gone], trial.network.conv2.weight.detach()[gone])


# -- the search ---------------------------------------------------------------------------------------------------


class Spied:
    """`minimise` as the hook calls it: costs are asked at chosen points, and one of them is returned as found."""

    def __init__(self, *points: list[float]) -> None:
        self.points, self.costs = [np.array(point) for point in points], list[float | None]()
        self.words: dict[str, Any] = {}

    def __call__(self, cost: Any, start: Any, upper: Any, **words: Any) -> Any:
        self.words = {**words, "start": start, "upper": upper}
        self.costs = [cost(point) for point in self.points]
        real = [each for each in self.costs if each is not None]
        return Found(self.points[self.costs.index(min(real))], min(real), len(real))


def searched(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, step: Step, *points: list[float], **settings: Any
) -> tuple[Adjusting, Spied]:
    """The hook after one step with a search that tried these points."""
    spied = Spied(*points)
    hook = adjusting(trial, searches=1, **settings)
    monkeypatch.setattr(olmp, "minimise", spied)
    hook.before_step(step)
    return hook, spied


def test_the_cost_is_the_share_that_remains_and_the_best_becomes_r(
    make_trial: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = make_trial(target="auto", budget=60.0)
    hook, spied = searched(trial, monkeypatch, step_of(trial), [0, 0, 0], [1, 1, 1], [1, 0, 0])
    sizes = {name: mask.sum().item() for name, mask in hook.masks().items()}
    assert hook.r == [1, 1, 1]
    assert spied.costs[1] == sum(sizes.values()) / trial.surgery.weights.total
    assert spied.costs[0] > spied.costs[2] > spied.costs[1]  # type: ignore[operator]
    assert torch.equal(trial.surgery.weights.masks["conv2.weight"], hook.masks()["conv2.weight"])


def accurate_above(trial: Trial, weights: int, share: float) -> Step:
    """A step in which all images are right while more than `weights` take part, else this share of them."""
    step = step_of(trial)

    def forward(images: Tensor) -> Tensor:
        right = len(images) if trial.surgery.weights.remaining() > weights else round(share * len(images))
        return torch.eye(4)[torch.tensor([0] * right + [1] * (len(images) - right), dtype=torch.long)]

    return replace(step, index=0, progress=0.0, forward=forward)


@pytest.mark.parametrize(("share", "feasible"), [(0.9375, True), (0.90625, False)])
def test_what_costs_more_accuracy_than_delta_is_infeasible(
    make_trial: Make, monkeypatch: pytest.MonkeyPatch, share: float, feasible: bool
) -> None:
    trial = make_trial(target="auto", budget=60.0)
    step = accurate_above(trial, 100, share)  # of 64 images 60 or 58 are right, and 60.16 would be 6 % fewer
    hook, spied = searched(trial, monkeypatch, step, [0, 0, 0], [9, 9, 9], batch=64, delta=0.0625)
    assert (spied.costs[1] != INFEASIBLE) == feasible
    assert hook.r == ([9, 9, 9] if feasible else [0, 0, 0])


def test_when_nothing_is_feasible_thresholds_stay(make_trial: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = make_trial(target="auto", budget=60.0)
    hook, spied = searched(trial, monkeypatch, accurate_above(trial, 100, 0.0), [9, 9, 9], [8, 9, 9])
    assert spied.costs == [INFEASIBLE] * 2
    assert hook.r == [0.001] * 3


@pytest.mark.parametrize("restore", [True, False])
def test_masks_are_put_back_between_candidates(
    make_trial: Make, monkeypatch: pytest.MonkeyPatch, restore: bool
) -> None:
    trial = make_trial(target="auto", budget=60.0)
    # after a candidate that prunes everything, weights between 0.9 t and 1.1 t are gone unless masks are put back
    _, spied = searched(
        trial, monkeypatch, step_of(trial), [0, 0, 0], [9, 9, 9], [0, 0, 0], released=not restore, bounds=(10.0,)
    )
    assert (spied.costs[2] == spied.costs[0]) == restore


def test_a_search_leaves_no_candidates_masks_behind(make_trial: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    masks = []
    for points in ([[0, 0, 0]], [[0, 0, 0], [9, 9, 9]]):  # the second candidate is infeasible
        trial = make_trial(target="auto", budget=60.0)
        searched(trial, monkeypatch, accurate_above(trial, 100, 0.0), *points)
        masks.append(trial.surgery.weights.masks)
    assert all(torch.equal(mask, masks[1][name]) for name, mask in masks[0].items())


def test_released_switches_reach_the_search(make_trial: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    _, spied = searched(
        make_trial(target="auto", budget=60.0), monkeypatch, step_of(make_trial()), [0, 0, 0], released=True
    )
    assert spied.words["accepting"] is False
    assert (OLMPReleasedConfig().sigma, OLMPReleasedConfig().delta, OLMPReleased.released) == (5.0, 0.05, True)


def test_only_active_layers_are_searched_when_told(make_trial: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = make_trial(target="auto", budget=60.0)
    step = step_of(trial, index=10**9)
    hook, _ = searched(trial, monkeypatch, step, [2, 3], layers="active", gamma=1.0, gamma_conv=0.0)
    assert hook.r == [2, 3, 0.001]


def test_the_search_keeps_to_its_share_of_the_budget_and_raises_nothing(make_trial: Make) -> None:
    for budget, share in ((6.0, 0.3), (4.0, 0.2), (1.0, 0.001)):
        trial = make_trial(target="auto", budget=budget, search_share=share)
        trial.config = OLMPConfig()
        OLMP().prune(trial)
        spent = trial.ledger.budget.spent(trial.ledger.phases["search"])
        assert spent <= share * budget
        assert spent > 0.5 * share * budget or share == 0.001


@pytest.mark.usefixtures("ticking")
def test_the_search_is_cut_short_by_seconds_too(make_trial: Make) -> None:
    trial = make_trial(target="auto", budget=0.5, unit="device_seconds")
    trial.config = OLMPConfig()
    OLMP().prune(trial)
    assert trial.ledger.phases["search"].images_forward > 0
    assert trial.ledger.phases["search"].device_seconds < 0.25


# -- sizes --------------------------------------------------------------------------------------------------------


def test_a_wanted_size_ends_the_reward(make_trial: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = make_trial(target="params=0.3", budget=60.0)
    least = trial.surgery.weights_to_keep()
    _, spied = searched(trial, monkeypatch, step_of(trial), [9, 9, 9], [8, 9, 9])
    assert spied.costs == [least / trial.surgery.weights.total] * 2


@pytest.mark.parametrize("ratio", [0.9, 0.5, 0.1])
def test_a_wanted_size_is_met(make_trial: Make, ratio: float) -> None:
    trial = make_trial(target=f"params={ratio}")
    trial.train(epochs=1)  # normalisation's biases begin at 0
    trial.config = OLMPConfig()
    OLMP().prune(trial)
    finetune(trial)
    trial.surgery.weights.apply_()
    nonzero = sum(int(parameter.count_nonzero()) for parameter in trial.network.parameters())
    assert nonzero == pytest.approx(ratio * trial.surgery.params, rel=0.02, abs=1)


def test_after_each_search_the_size_is_between_the_wanted_one_and_a_ceiling(make_trial: Make) -> None:
    trial = make_trial(target="params=0.2", budget=60.0)
    hook = adjusting(trial)
    hook.searches, hook.searched = 4, 2
    hook.scale = 0.001  # next to nothing would go
    hook._rescale()
    ceiling = 0.2 + 0.8 * (1 - 2 / (4 * OLMPConfig().arrive)) ** 3
    assert sum(int(mask.sum()) for mask in hook.masks().values()) == trial.surgery.weights_to_keep(ceiling)
    hook.searched, hook.scale = 3, 0.001  # past its arrival there is no more than what is wanted
    hook._rescale()
    assert sum(int(mask.sum()) for mask in hook.masks().values()) == trial.surgery.weights_to_keep()
    hook.scale = 1000.0  # everything would go
    hook._rescale()
    assert sum(int(mask.sum()) for mask in hook.masks().values()) == trial.surgery.weights_to_keep()


@pytest.mark.parametrize("gradual", [True, False])
def test_a_size_is_approached_along_the_cubic_or_at_once(make_trial: Make, gradual: bool) -> None:
    trial = make_trial(target="params=0.2", budget=60.0)
    hook = adjusting(trial, gradual=gradual)
    hook.searches, hook.searched, hook.scale = 4, 1, 1000.0  # everything would go
    hook._rescale()
    due = 0.2 + 0.8 * (1 - 1 / (4 * OLMPConfig().arrive)) ** 3
    left = trial.surgery.weights_to_keep(due if gradual else 0.2)
    assert sum(int(mask.sum()) for mask in hook.masks().values()) == left
    after = 0.2 + 0.8 * (1 - 2 / (4 * OLMPConfig().arrive)) ** 3
    assert hook._min_weights() == trial.surgery.weights_to_keep(after if gradual else 0.2)


# -- runs ---------------------------------------------------------------------------------------------------------


def test_the_hook_carries_what_it_knows(make_trial: Make) -> None:
    first, second = adjusting(make_trial(target="auto")), adjusting(make_trial(target="auto"))
    first.r, first.scale, first.searched = [1.0, 2.0, 3.0], 1.5, 4
    second.load_state_dict(first.state_dict())
    assert (second.r, second.scale, second.searched) == ([1.0, 2.0, 3.0], 1.5, 4)
    assert first.state_dict() == {"r": [1.0, 2.0, 3.0], "scale": 1.5, "searched": 4}


def test_a_run_reaches_its_size_and_auto_decides_by_itself(run: Callable[..., Record]) -> None:
    record = run("olmp", "params=0.1")
    assert record.status == "ok", record.error
    assert record.ratios is not None and record.pruned is not None and record.dense is not None
    assert record.ratios.compression == pytest.approx(10, rel=0.05)
    assert record.ledger["search"].images_forward > 0
    own = run("olmp", "auto")
    assert own.status == "ok", own.error
    assert own.ratios is not None and own.ratios.compression > 2


def test_a_layer_of_zeros_has_a_threshold() -> None:
    network = nn.Sequential(nn.Linear(2, 2))
    nn.init.zeros_(network[0].weight)
    nn.init.zeros_(network[0].bias)
    (layer,) = reference_layers(network, {"0": ("0.weight", "0.bias")}, OLMPConfig())
    assert layer == Layer(("0.weight", "0.bias"), 0.0, 0.0, 2e-4, 10.0)
