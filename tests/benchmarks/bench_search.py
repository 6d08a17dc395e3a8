"""One evaluation of a search: masked, through the trial, against plain forward passes over the same images.

Through the trial means charged, journaled where there is a journal, watched by the guard, with the masks put on and
taken off. LeNet-5 has no BatchNorm, so that `recalibrate` costs nothing here.
"""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.trial.trial import Trial


@pytest.fixture
def keep(trial: Trial) -> Mapping[str, Tensor]:
    return {group.name: torch.arange(group.width // 2) for group in trial.surgery.groups}


def ours(trial: Trial, keep: Mapping[str, Tensor]) -> float:
    with trial.surgery.masked(keep):
        return trial.evaluate().top1


def bare(trial: Trial) -> Callable[[], float]:
    """Forward passes over the validation images, in the same batches, on a copy that the guard does not watch."""
    from bench.surgery.proof import bare_copy

    network = bare_copy(trial.network).eval()
    batches = list(trial._passes.data.validation_batches())

    def run() -> float:
        with torch.inference_mode():
            right = sum(int((network(images).argmax(1) == labels).sum()) for images, labels in batches)
        return right / len(trial._passes.data.validation)

    return run


def test_masked_evaluation(benchmark: Any, trial: Trial, keep: Mapping[str, Tensor]) -> None:
    benchmark.pedantic(ours, (trial, keep), rounds=20, warmup_rounds=2)


def test_plain_forward(benchmark: Any, trial: Trial) -> None:
    benchmark.pedantic(bare(trial), rounds=20, warmup_rounds=2)


def test_the_ratio(ratio: Callable[..., float], trial: Trial, keep: Mapping[str, Tensor]) -> None:
    run = bare(trial)
    ratio("masked evaluation / plain forward, digits on LeNet-5", lambda: ours(trial, keep), run, rounds=20)
