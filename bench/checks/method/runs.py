"""Checks of runs on one network: repeatable, within the budget, at the target, and nothing behind the trial's back."""

from typing import Any

import torch

from bench.checks.method.case import Case, CheckFailed
from bench.records.record import Measured, Record
from bench.specs.budget import TRAINING, Unit
from bench.specs.target import Target
from bench.specs.track import Track
from bench.trial.method import Method
from bench.trial.trial import Trial

__all__ = ["budget_in_epochs", "budget_in_seconds", "determinism", "guarded", "meets_target", "seeds", "targets"]

_SLACK_SECONDS = 1.0
_EXACT = 1 + 1e-9


def determinism(case: Case) -> str:
    """The same spec gives bitwise the same network and the same ledger, with nothing shared between the runs."""
    track, target = case.track, case.target(0.5)
    first, second = case.finished(track, target), case.finished(track, target, again=True)
    hashes = [[each.weights_sha256 for each in _networks(record)] for record in (first, second)]
    if hashes[0][0] != hashes[1][0]:
        raise CheckFailed("two trainings of the dense network differ. An observer must only read.")
    advice = "Draw from trial.rng and nothing else, and keep nothing on the class or the module."
    if _work(first) != _work(second):
        raise CheckFailed(f"the same run spent {_work(first)} and then {_work(second)} MACs by phase. {advice}")
    if hashes[0] != hashes[1]:
        raise CheckFailed(f"the same run gave two different networks. {advice}")
    return f"sha256 {hashes[0][1][:12]} twice"


def seeds(case: Case) -> str:
    """Another seed gives another network."""
    track, target = case.track, case.target(0.5)
    hashes = {_networks(case.finished(track, target, seed=seed))[1].weights_sha256 for seed in (0, 1)}
    if len(hashes) == 1:
        raise CheckFailed("seeds 0 and 1 give the same network. Do not set weights to constants or seeds to numbers.")
    return "seeds 0 and 1 differ"


def targets(case: Case) -> str:
    """A half and a tenth of the network, within the track's tolerance."""
    track = case.track
    wanted = dict.fromkeys((case.target(0.5), case.target(0.1)))
    return ", ".join(meets_target(case, track, target) for target in wanted)


def meets_target(case: Case, track: Track, target: Target) -> str:
    """One run: came to its end, and at the right size.

    Raises:
        CheckFailed: it did not.
    """
    record = case.finished(track, target)
    dense, pruned = _networks(record)
    if target.measure == "none":
        if (pruned.macs, pruned.params) != (dense.macs, dense.params):
            raise CheckFailed("targets is 'none', but the network's size changed. Say targets = 'size'.")
        return "size unchanged"
    reached = pruned.macs / dense.macs if target.measure == "macs" else pruned.nonzero / dense.params
    if not target.met_by(reached, track.tolerance):
        how = "trial.surgery.fit" if record.kind == "structured" else "trial.surgery.weights"
        raise CheckFailed(
            f"on {track.name} target {target} came out at {reached:.4g}, and {track.tolerance:.0%} off is allowed. "
            f"Let {how} meet it."
        )
    return f"{target} -> {reached:.4g}"


def budget_in_epochs(case: Case) -> str:
    """No more than the budget in dense epochs, no more than its share for searching, and the phases that must be."""
    track = case.track
    for target in dict.fromkeys((case.target(0.5), case.target(0.1))):
        record = case.finished(track, target)
        dense, _ = _networks(record)
        step = TRAINING * track.finetune.batch_size * dense.macs / record.budget.dense_epoch_macs
        _check_total(record, step)
        _check_phases(case, record, track)
    searched = record.ledger["search"].macs / record.budget.dense_epoch_macs
    return f"spent {record.spent:.4g} of {record.budget.amount:g} ep, {searched:.2g} of it searching"


def budget_in_seconds(case: Case) -> str:
    """A budget of device seconds that binds: half of what pruning and fine-tuning took before."""
    track, target = case.track, case.target(0.5)
    before = case.finished(track, target)
    took = before.ledger["total"].device_seconds - before.ledger["dense"].device_seconds
    amount = before.ledger["dense"].device_seconds + took / 2
    unit: Unit = "device_seconds"
    record = case.finished(track.scaled(amount, unit), target, unit=unit)
    _check_total(record, took / 4 + _SLACK_SECONDS)
    return f"spent {record.spent:.3g} of {amount:.3g} s"


def _check_total(record: Record, slack: float) -> None:
    assert record.spent is not None
    if record.spent > (record.budget.amount + slack) * _EXACT:
        unit = record.budget.unit
        raise CheckFailed(
            f"spent {record.spent:.4g} of {record.budget.amount:.4g} {unit}. Compute through the trial, which stops "
            "in time, and look at trial.ledger.left before long work of your own."
        )


def _check_phases(case: Case, record: Record, track: Track) -> None:
    ledger, epoch = record.ledger, record.budget.dense_epoch_macs
    if (ledger["dense"].macs > 0) != (case.method.starts == "trained"):
        raise CheckFailed(
            f"starts is {case.method.starts!r} and the dense phase is charged {ledger['dense'].macs} MACs. "
            "This is the harness's fault: please report it."
        )
    allowed = track.budget.search_share * (record.budget.amount - ledger["dense"].macs / epoch)
    if ledger["search"].macs / epoch > allowed * _EXACT:
        raise CheckFailed(
            f"evaluations and probes took {ledger['search'].macs / epoch:.4g} ep, and {allowed:.4g} are the search's "
            "share. Evaluate through the trial only."
        )


def guarded(case: Case) -> str:
    """The method itself leaves nothing to find, and the same method with a step behind the trial's back is found."""
    track, target = case.track, case.target(0.5)
    record = case.run(track, target)
    if record.status == "invalid":
        raise CheckFailed(case.reason(record))
    case.finished(track, target)
    caught = case.run(track, target, method=behind_the_back(case.method))
    if caught.status != "invalid":
        raise CheckFailed(
            f"a step of training after prune was not found: the run is {caught.status}. Leave the hooks of "
            "trial.network alone."
        )
    return "nothing found; a step behind the trial's back is found"


def behind_the_back(method: type[Method]) -> type[Method]:
    """`method`, followed by one optimiser step that the trial does not know of."""

    class Behind(method):  # type: ignore[misc, valid-type]
        name = f"{method.name}-behind"

        def prune(self, trial: Trial) -> None:
            super().prune(trial)
            optimiser = torch.optim.SGD(trial.network.parameters(), lr=0.1)
            trial.network(trial.training_images(2).pixels.float()).square().sum().backward()
            optimiser.step()

    Behind.__module__ = method.__module__
    return Behind


def _networks(record: Record) -> tuple[Measured, Measured]:
    """The dense and the pruned network of a finished run."""
    assert record.dense is not None
    assert record.pruned is not None
    return record.dense, record.pruned


def _work(record: Record) -> dict[Any, int]:
    return {phase: spent.macs for phase, spent in record.ledger.items()}
