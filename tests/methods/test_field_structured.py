"""The field's channel criteria against cases worked out by hand, and what their runs leave."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from bench import Config, Record, Step, Trial
from bench.methods._maps import channel_scores
from bench.methods.chip import CHIP, CHIPConfig, independence
from bench.methods.group_norm import GroupNorm, GroupNormConfig, group_norms
from bench.methods.hrank import HRank, HRankConfig, mean_ranks
from bench.methods.soft import Soft, SoftConfig, Softly, filter_masks, smallest_off

Make = Callable[..., Trial]


def test_a_group_norm_is_the_sum_over_every_layer_that_the_channel_runs_through(with_weights: Make) -> None:
    scales = torch.full((8,), 2.0)
    scales[3] = 5.0
    trial = with_weights(
        conv1_weight=torch.ones(()),  # 9 weights a filter
        bn1_weight=scales,
        bn1_bias=torch.tensor(3.0),
        conv2_weight=torch.tensor(0.5),  # reads each channel with 6 x 9 weights
    )
    (first, _) = trial.surgery.groups
    plain = 9 + 4 + 54 / 4
    assert group_norms(first).tolist() == pytest.approx([plain] * 3 + [plain + 21] + [plain] * 4)
    assert group_norms(first, p=1, biases=True)[0] == pytest.approx(9 + 2 + 27 + 3)


def test_group_norm_removes_what_the_next_layer_does_not_read(with_weights: Make) -> None:
    reading = torch.ones(6, 8, 3, 3)
    reading[:, [1, 4]] = 0.0  # an l1 norm of filters could not tell these from the others
    marks = (1 + 1e-3 * torch.arange(8.0)).view(8, 1, 1, 1)
    trial = with_weights("macs=0.25", conv1_weight=marks, conv2_weight=reading)
    trial.config = GroupNormConfig()
    GroupNorm().prune(trial)
    left = trial.network.get_parameter("conv1.weight").detach()[:, 0, 0, 0]
    assert len(left) < 7
    assert not set(left.tolist()) & set(marks[[1, 4]].flatten().tolist())


def test_the_rank_of_a_map_by_hand() -> None:
    zero, one = torch.zeros(3, 3), torch.ones(3, 3)  # ranks 0 and 1
    full = torch.eye(3)
    maps = torch.stack([torch.stack([zero, one, full]), torch.stack([one, one, zero])])
    assert mean_ranks(maps).tolist() == [0.5, 1.0, 1.5]


def test_ranks_as_numpy_has_them() -> None:
    maps = torch.randn(4, 5, 6, 7, generator=torch.Generator().manual_seed(0)).relu()
    maps[:, 2, 3:] = 0
    wanted = np.linalg.matrix_rank(maps.numpy()).mean(0)
    assert mean_ranks(maps).tolist() == pytest.approx(wanted.tolist())


def test_a_channel_that_repeats_another_is_not_independent() -> None:
    maps = torch.zeros(1, 3, 1, 2)
    maps[0, 0, 0] = torch.tensor([3.0, 0.0])
    maps[0, 1, 0] = torch.tensor([4.0, 0.0])  # the same direction: together a norm of 5, so 5 - 4 and 5 - 3
    maps[0, 2, 0] = torch.tensor([0.0, 2.0])  # alone in its direction
    assert independence(maps).tolist() == pytest.approx([1.0, 2.0, 2.0])


def test_independence_as_numpy_has_it() -> None:
    maps = torch.randn(3, 6, 4, 5, generator=torch.Generator().manual_seed(1)).relu()
    wanted = np.zeros(6)
    for image in maps.flatten(2).double().numpy():
        whole = np.linalg.norm(image, "nuc")
        for channel in range(6):
            without = image.copy()
            without[channel] = 0
            wanted[channel] += (whole - np.linalg.norm(without, "nuc")) / 3
    assert independence(maps).tolist() == pytest.approx(wanted.tolist())


def test_maps_are_scored_by_channel_in_every_group(make_trial: Make) -> None:
    trial = make_trial()

    def reduce(seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: maps.mean((0, 2, 3)) for name, maps in seen.items()}

    scores = channel_scores(trial, reduce, images=10)
    assert {name: len(each) for name, each in scores.items()} == {"conv1": 8, "conv2": 6}
    assert trial.ledger.phases["search"].images_forward == 10


def test_no_more_images_than_the_search_pays_for(make_trial: Make) -> None:
    trial = make_trial(budget=1.0, search_share=0.1)
    channel_scores(trial, lambda seen: {name: maps.mean((0, 2, 3)) for name, maps in seen.items()}, images=96)
    assert 0 < trial.ledger.phases["search"].images_forward < 96
    assert trial.ledger.search_left >= 0


@pytest.mark.parametrize(("method", "config"), [(HRank, HRankConfig(images=16)), (CHIP, CHIPConfig(images=8))])
def test_they_remove_the_channels_of_lowest_score(with_weights: Make, method: type, config: Config) -> None:
    filters = torch.randn(8, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    filters[[2, 5]] = 0.0  # constant maps: of the lowest rank, and with nothing of their own
    trial = with_weights("macs=0.25", conv1_weight=filters)
    trial.config = config
    method().prune(trial)
    left = trial.network.get_parameter("conv1.weight").detach()
    assert len(left) < 7
    assert left.flatten(1).any(1).all()


def test_soft_pruning_zeroes_the_filters_of_smallest_l2_norm_and_they_come_back(with_weights: Make) -> None:
    trial = with_weights(conv1_weight=torch.arange(1.0, 9.0).view(8, 1, 1, 1), bn1_bias=torch.tensor(0.5))
    trial.config = SoftConfig()
    keep = smallest_off(trial)
    gone = sorted(set(range(8)) - set(keep["conv1"].tolist()))
    assert gone == list(range(len(gone))) and gone
    masks = filter_masks(trial, keep)
    assert [bool(masks["conv1.weight"][channel].any()) for channel in range(8)] == [c not in gone for c in range(8)]
    assert masks["fc.weight"].all()

    seen: list[tuple[bool, float]] = []

    class Watched(Softly):
        def after_step(self, step: Step) -> None:
            seen.append(
                (
                    trial.surgery.weights.active,
                    float(trial.network.get_parameter("conv1.weight").detach()[0].abs().sum()),
                )
            )

    trial.train(epochs=2, hooks=[Watched(trial)])  # 12 steps, 6 an epoch
    assert [active for active, _ in seen] == [index % 6 == 0 for index in range(12)]
    assert seen[0][1] == 0.0 and seen[5][1] > 0.0


@pytest.mark.slow
@pytest.mark.parametrize("method", ["group-norm", "hrank", "chip", "soft"])
def test_a_run_meets_its_size(run: Callable[..., Record], method: str) -> None:
    settings = ("images=16",) if method in ("hrank", "chip") else ()
    record = run(method, "macs=0.5", settings=settings)
    assert record.status == "ok", record.error
    assert record.pruned is not None and record.dense is not None
    assert record.pruned.macs == pytest.approx(record.dense.macs / 2, rel=0.05)


def test_soft_leaves_no_mask_behind(make_trial: Make) -> None:
    trial = make_trial()
    trial.config = SoftConfig()
    Soft().prune(trial)
    assert not trial.surgery.weights.active
    assert trial.surgery.ratio() == pytest.approx(0.5, abs=0.05)
