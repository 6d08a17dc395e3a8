"""The controls that every table has: dense, random, scratch."""

from collections.abc import Callable

import pytest
import torch

from bench import BenchError, Record, Trial
from bench.methods.random import Random
from bench.methods.scratch import Scratch, ScratchConfig
from bench.runner.run import Workplace

Run = Callable[..., Record]


def widths(record: Record) -> list[int]:
    return [layer.width_after for layer in record.layers]


def test_dense_prunes_nothing_and_has_the_whole_budget(run: Run) -> None:
    record = run("dense", "none")
    assert (record.status, record.target, record.control) == ("ok", "none", True)
    assert record.ratios is not None
    assert (record.ratios.macs, record.ratios.params, record.ratios.filters_removed) == (1.0, 1.0, 0.0)
    assert record.spent == pytest.approx(record.budget.amount, rel=0.02)


def test_scratch_has_the_widths_of_l1_and_spends_the_dense_part_itself(run: Run) -> None:
    l1, scratch = run("l1"), run("scratch")
    assert widths(scratch) == widths(l1)
    assert scratch.status == "ok"
    assert scratch.budget == l1.budget
    assert scratch.ledger["dense"].macs == 0
    assert scratch.ledger["total"].macs == pytest.approx(l1.ledger["total"].macs, rel=0.02)
    assert scratch.ledger["prune"].steps > l1.ledger["finetune"].steps
    assert scratch.config["budget"] == "macs"
    assert scratch.manifest["dense_sha256"] == l1.manifest["dense_sha256"]
    assert {point.phase for point in scratch.curve} == {"prune"}


def test_scratch_by_epochs_sees_as_many_images_as_the_dense_network_did(run: Run) -> None:
    l1, whole, cheap = run("l1"), run("scratch"), run("scratch", settings=("budget=epochs",))
    assert cheap.status == "ok", cheap.error
    assert widths(cheap) == widths(l1)
    assert cheap.config["budget"] == "epochs"
    assert cheap.run_id != whole.run_id
    trained = cheap.ledger["total"]
    assert (trained.images_trained, trained.steps) == (l1.ledger["dense"].images_trained, l1.ledger["dense"].steps)
    assert trained.macs < 0.6 * l1.ledger["dense"].macs
    assert cheap.budget == whole.budget


def test_scratch_by_epochs_is_refused_where_the_dense_network_came_trained(make_trial: Callable[..., Trial]) -> None:
    trial = make_trial()
    trial.config = ScratchConfig(budget="epochs")
    with pytest.raises(BenchError, match="from a file"):
        Scratch().prune(trial)
    assert trial.ledger.spent == 0


def test_scratch_takes_another_runs_widths_when_told(run: Run, workplace: Workplace) -> None:
    other = run("hbfp", "macs=0.25", settings=("groups=all",))
    record = run("scratch", "macs=0.25", settings=(f"widths_of={other.run_id}",))
    assert record.error is None
    assert widths(record) == widths(other)


def test_scratch_of_a_run_that_is_not_there_fails_with_the_known_names(run: Run) -> None:
    run("l1")
    record = run("scratch", settings=("widths_of=l2-smoke",))
    assert record.status == "failed"
    assert record.error is not None
    assert "unknown run 'l2-smoke'" in record.error
    assert "l1-smoke-macs" in record.error
    assert "Traceback" not in record.error


def lots(trial: Trial) -> dict[str, list[int]]:
    kept: dict[str, list[int]] = {}
    remove = trial.surgery.remove

    def told(keep: dict[str, torch.Tensor]) -> None:
        kept.update({name: indices.tolist() for name, indices in keep.items()})
        remove(keep)

    trial.surgery.remove = told  # type: ignore[method-assign]
    Random().prune(trial)
    return kept


def test_random_draws_from_the_seed_alone(make_trial: Callable[..., Trial]) -> None:
    first = lots(make_trial(seed=0))
    torch.manual_seed(123)
    assert lots(make_trial(seed=0)) == first
    others = [lots(make_trial(seed=seed)) for seed in (1, 2, 3)]
    assert any(other != first for other in others)
    assert all(
        {name: len(kept) for name, kept in other.items()} == {n: len(k) for n, k in first.items()} for other in others
    )
