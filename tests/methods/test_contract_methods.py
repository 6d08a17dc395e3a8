"""FPGM, network slimming and SNIP against cases worked out by hand, and what their runs leave."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from bench import Record, Trial, UsageError
from bench.methods.fpgm import FPGM, FPGMConfig, distances
from bench.methods.slimming import Slimming, SlimmingConfig, scale_norm
from bench.methods.snip import SNIP, SNIPConfig
from bench.trial.phases import calls_of

Make = Callable[..., Trial]


def kept_by(trial: Trial, prune: Callable[[], None]) -> dict[str, list[int]]:
    """The channels that `prune` keeps, by group."""
    kept: dict[str, list[int]] = {}
    remove = trial.surgery.remove

    def told(keep: Mapping[str, Tensor]) -> Any:
        kept.update({name: indices.tolist() for name, indices in keep.items()})
        return remove(keep)

    trial.surgery.remove = told  # type: ignore[method-assign]
    prune()
    return kept


def test_distances_are_summed_over_all_filters_of_the_layer(with_weights: Make) -> None:
    trial = with_weights(conv1_weight=torch.arange(8.0).view(8, 1, 1, 1))  # nine equal weights: 3 |i - j| apart
    first = trial.surgery.groups[0]
    assert distances(first).tolist() == [3.0 * each for each in (28, 22, 18, 16, 16, 18, 22, 28)]


def test_fpgm_removes_the_filters_in_the_middle_and_not_those_of_small_norm(with_weights: Make) -> None:
    values = torch.tensor([0.0, 1.0, 1.1, 5.0, 2.0, -4.0, 1.2, 9.0])  # sums: 1.1 19.0, 1.2 19.1, 1.0 19.3, 2.0 20.7
    trial = with_weights("macs=0.2", conv1_weight=values.view(8, 1, 1, 1))
    trial.config = FPGMConfig()
    kept = kept_by(trial, lambda: FPGM().prune(trial))
    gone = sorted(set(range(8)) - set(kept["conv1"]))
    assert len(gone) > 2
    assert set(gone) == set([2, 6, 1, 4, 0, 3][: len(gone)])


def test_the_penalty_is_the_sum_of_all_absolute_scales(with_weights: Make) -> None:
    trial = with_weights(bn1_weight=torch.tensor([1.0, -2, 3, 0, 0, 0, 0, 0]), bn2_weight=torch.full((6,), -0.5))
    assert scale_norm(trial.network).item() == 6 + 3


def test_slimming_shrinks_scales_and_keeps_the_largest_over_all_groups(make_trial: Make) -> None:
    plain, trial = make_trial(weight_decay=0.0), make_trial(weight_decay=0.0)
    plain.train(share=0.5)
    assert SlimmingConfig().floor == 0.1
    trial.config = SlimmingConfig(strength=0.05, floor=0.05)
    scales: dict[str, Tensor] = {}
    fit = trial.surgery.fit

    def told(ranking: Mapping[str, Tensor], **how: Any) -> dict[str, Tensor]:
        scales.update({name: scores.detach().clone() for name, scores in ranking.items()})
        assert how == {"scope": "global", "floor": 0.05}
        for norm, found in zip(("bn1", "bn2"), ranking.values(), strict=True):
            assert torch.equal(found, trial.network.get_parameter(f"{norm}.weight").abs())
        return fit(ranking, **how)

    trial.surgery.fit = told  # type: ignore[method-assign,assignment]
    kept = kept_by(trial, lambda: Slimming().prune(trial))
    total = sum(each.sum() for each in scales.values())
    assert total < 0.95 * scale_norm(plain.network)
    for name, channels in kept.items():
        assert channels == sorted(scales[name].argsort(descending=True)[: len(channels)].tolist())


def test_slimming_is_refused_on_a_network_without_batchnorm(run: Callable[..., Record]) -> None:
    with pytest.raises(UsageError, match="slimming needs batchnorm"):
        run("slimming")


def test_snip_keeps_the_weights_whose_mask_the_loss_feels_most(make_trial: Make) -> None:
    trial = make_trial(target="params=0.3")
    calls_of(trial).guard.disarm()
    network = trial.network.train()
    images, labels = next(iter(trial._passes.data.plain_training_batches(64)))
    weights = {name: p.detach() for name, p in network.named_parameters()}
    masks = {name: torch.ones_like(each, requires_grad=True) for name, each in weights.items()}
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    outputs = functional_call(network, {name: weights[name] * masks[name] for name in weights} | buffers, (images,))
    value = functional.cross_entropy(outputs, labels)
    sensitivity = dict(zip(masks, torch.autograd.grad(value, list(masks.values())), strict=True))
    network.eval()
    calls_of(trial).guard.arm()

    trial.config = SNIPConfig(images=64)
    SNIP().prune(trial)
    found = trial.surgery.weights.masks
    assert found["fc.bias"].all()
    felt = torch.cat([sensitivity[name].abs()[mask] for name, mask in found.items() if mask.dim() > 1])
    not_felt = torch.cat([sensitivity[name].abs()[~mask] for name, mask in found.items() if mask.dim() > 1])
    assert felt.sort().values[3] >= not_felt.max()  # but for the one weight that each layer keeps in any case
    assert trial.ledger.phases["search"].images_trained == 64


def test_snip_runs_on_the_digits(run: Callable[..., Record], tmp_path: Any, smoke_track: Any) -> None:
    record = run("snip", "params=0.2")
    assert record.status in ("ok", "missed-target"), record.error
    assert record.ledger["prune"].steps == 0
    assert record.ledger["search"].images_trained == 128
