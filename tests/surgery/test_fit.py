"""Widths that meet a target."""

from itertools import product

import numpy as np
import pytest
import torch

from bench.errors import NotPrunable, SurgeryError
from bench.networks.registry import network as network_named
from bench.surgery import fit, l1_norms
from bench.surgery.trace import trace_groups

SHAPE = (3, 8, 8)


@pytest.fixture
def groups(build):
    return trace_groups(build("plain"), SHAPE)


@pytest.fixture(scope="module")
def resnet():
    plugin = network_named("resnet20")
    return trace_groups(plugin.build(plugin.input), plugin.input.shape, plugin.prunable)


def widths(keep):
    return {name: len(kept) for name, kept in keep.items()}


def test_cost_by_hand(groups):
    at = {"conv1": 2, "conv2": 3}
    assert groups.cost.macs(at) == 64 * (3 * 2 * 9 + 2 * 3 * 9) + 3 * 7 + 7 * 4
    assert groups.cost.params(at) == (3 * 2 * 9 + 2) + (2 * 3 * 9 + 3) + (3 * 7 + 7) + (7 * 4 + 4)


@pytest.mark.parametrize("measure", ["macs", "params"])
@pytest.mark.parametrize("ratio", [0.8, 0.5, 0.3, 0.25])
def test_two_groups_are_as_near_as_brute_force_around_the_uniform_widths(groups, measure, ratio):
    amount = ratio * groups.cost.amounts(measure, [[6, 5]])[0]
    found = widths(fit(groups, amount, measure))
    shares = [s / 1000 for s in range(1, 1001)]
    uniform = {tuple(max(1, int(w * s + 0.5)) for w in (6, 5)) for s in shares}
    near = {
        (a + da, b + db)
        for a, b in uniform
        for da, db in product(range(-2, 3), repeat=2)
        if 1 <= a + da <= 6 and 1 <= b + db <= 5
    }

    def distance(at):
        return abs(int(groups.cost.amounts(measure, [at])[0]) - amount)

    assert distance(tuple(found.values())) <= min(map(distance, near)) + 0.02 * amount
    start = min(uniform, key=distance)
    assert distance(tuple(found.values())) <= distance(start)


@pytest.mark.parametrize("scope", ["uniform", "global"])
@pytest.mark.parametrize("ratio", [0.9, 0.5, 0.2, 0.05])
def test_a_larger_network_lands_on_the_target(resnet, scope, ratio):
    dense = resnet.cost.macs(resnet.widths)
    keep = fit(resnet, ratio * dense, scope=scope)
    reached = resnet.cost.macs(widths(keep)) / dense
    assert abs(reached / ratio - 1) < 0.02
    assert all(len(kept) >= 1 and bool((kept.diff() > 0).all()) for kept in keep.values())


def test_uniform_keeps_the_same_share_and_ratios_bend_it(resnet):
    dense = resnet.cost.macs(resnet.widths)
    full = resnet.widths
    for name, width in widths(fit(resnet, 0.5 * dense)).items():
        assert abs(width - 0.7 * full[name]) <= 4
    first = next(iter(full))
    bent = widths(fit(resnet, 0.5 * dense, ratios={first: 0.25}))
    others = [bent[name] / full[name] for name in full if name != first]
    assert bent[first] / full[first] < 0.4 * float(np.mean(others))


def test_highest_scores_stay_and_ties_keep_the_first(groups):
    amount = 0.4 * groups.cost.macs(groups.widths)
    keep = fit(groups, amount, ranking={"conv1": torch.ones(6), "conv2": torch.tensor([1.0, 9, 1, 8, 1])})
    first, second = keep["conv1"].tolist(), keep["conv2"].tolist()
    assert first == list(range(len(first)))
    assert 1 <= len(first) < 6
    assert set(second) == set([1, 3, 0, 2, 4][: len(second)])


def test_global_scope_draws_one_threshold(resnet):
    ranking = {group.name: torch.rand(group.width) for group in resnet}
    keep = fit(resnet, 0.5 * resnet.cost.macs(resnet.widths), ranking=ranking, scope="global")
    kept = {name: ranking[name][indices].min() for name, indices in keep.items()}
    lost = {
        name: ranking[name].sort(descending=True).values[len(indices)]
        for name, indices in keep.items()
        if len(indices) < len(ranking[name])
    }
    # the local search moves a group by two channels at most, so thresholds agree but for those
    assert max(lost.values()) - min(kept.values()) < 0.5


def test_a_global_ranking_leaves_every_group_the_floor(resnet):
    dense, full = resnet.cost.macs(resnet.widths), resnet.widths
    last = list(full)[-1]
    ranking = {group.name: torch.rand(group.width) - 9 * (group.name == last) for group in resnet}
    bare = widths(fit(resnet, 0.5 * dense, ranking=ranking, scope="global", floor=0))
    assert bare[last] < 0.1 * full[last]
    for floor, options in ((0.1, {}), (0.25, {"floor": 0.25})):
        kept = widths(fit(resnet, 0.5 * dense, ranking=ranking, scope="global", **options))
        assert all(kept[name] >= floor * full[name] for name in full)
        assert kept[last] <= np.ceil(floor * full[last])
        assert abs(resnet.cost.macs(kept) / dense - 0.5) < 0.01


def test_a_floor_above_the_target_is_refused_with_what_to_change(resnet):
    amount = 0.05 * resnet.cost.macs(resnet.widths)
    with pytest.raises(NotPrunable, match="with 50% of the channels in each of .*a lower floor"):
        fit(resnet, amount, scope="global", floor=0.5)
    assert fit(resnet, amount, scope="uniform", floor=0.5)  # where it has no part


def test_groups_that_are_not_ranked_stay_whole(groups):
    keep = fit(groups, 0.7 * groups.cost.macs(groups.widths), ranking={"conv2": torch.rand(5)})
    assert set(keep) == {"conv2"}


def test_l1_sums_over_producers(build):
    network = build("residual")
    norms = l1_norms(trace_groups(network, SHAPE))
    by_hand = network.stem[0].weight.abs().sum((1, 2, 3)) + network.conv2.weight.abs().sum((1, 2, 3))
    assert torch.allclose(norms["stem.0"], by_hand)


def test_small_enough_is_kept_whole_and_too_small_is_refused(groups):
    assert widths(fit(groups, groups.cost.macs(groups.widths))) == {"conv1": 6, "conv2": 5}
    least = groups.cost.macs({"conv1": 1, "conv2": 1})
    assert widths(fit(groups, least)) == {"conv1": 1, "conv2": 1}
    with pytest.raises(NotPrunable, match=str(least)):
        fit(groups, least - 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ranking": {"conv1": torch.ones(5)}}, r"conv1.*shape \[5\].*Give \[6\]"),
        ({"ranking": {"conv1": torch.tensor([1, 2, float("nan"), 4, 5, 6])}}, r"conv1.*1 NaN"),
        ({"ranking": {"conv9": torch.ones(5)}}, "conv9"),
        ({"ratios": {"conv1": 0.0}}, r"conv1.*0.0"),
        ({"ratios": {"conv1": float("nan")}}, r"conv1.*nan"),
        ({"ratios": {"conv1": 1.0}, "scope": "global"}, "uniform"),
        ({"scope": "local"}, "local"),
        ({"scope": "global", "floor": 1.5}, r"floor is 1.5.*0 to 1"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(groups, arguments, message):
    with pytest.raises(SurgeryError, match=message):
        fit(groups, 1000, **arguments)
