"""What papers claim beside what was measured: a verdict for each number, from records alone.

A verdict rests on one-sided 95 % bounds over the seeds, never on means: `reproduced` where the number and the accuracy
that goes with it keep their limits at the bound, `refuted` where one of them breaks its limit at the other bound, else
`inconclusive`. The accuracy is held against the dense network, as papers do, and against `dense` with the same extra
training: without that control, or where its limit is not kept, nothing is reproduced. A size that the target asks for
is met by construction: then the verdict is that of its accuracy alone, and no number was reproduced. Without a run for
each of the claim's seeds it is `not run`, with the command and what it may cost.
"""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from pydantic import ValidationError

from bench.leaderboard.board.board import Estimate
from bench.records.record import Record
from bench.specs.claim import Claim, Number
from bench.specs.target import Target
from bench.specs.track import Track, deciding_fields

__all__ = ["WORDS", "ClaimVerdict", "as_json", "verdicts"]

Word = Literal["reproduced", "refuted", "inconclusive", "not run"]

WORDS: tuple[Word, ...] = ("reproduced", "refuted", "inconclusive", "not run")
"""What is settled first."""

_MEASURES: dict[str, Callable[[Record], float | None]] = {
    "macs_reduction": lambda r: 100 * (1 - r.ratios.macs) if r.ratios else None,
    "macs_reduction_convolutions": lambda r: _convolutions(r),
    "compression": lambda r: r.ratios.compression if r.ratios else None,
    "compression_weights": lambda r: r.ratios.compression_weights if r.ratios else None,
    "filters_removed": lambda r: 100 * r.ratios.filters_removed if r.ratios else None,
    "filters_removed_by_layer": lambda r: _percent(r.ratios.filters_removed_by_layer if r.ratios else None),
}


@dataclass(frozen=True)
class ClaimVerdict:
    """One number of a claim, claimed and measured. Accuracies are fractions, differences of them in points.

    Attributes:
        claim, number: what is claimed.
        word: `reproduced`, `refuted`, `inconclusive` or `not run`.
        why: the reason, for people.
        seeds: that were run.
        measured: the number, in its unit; None where it was not run.
        dense_top1, pruned_top1: on test.
        loss: dense minus pruned, in points, paired by seed.
        control_loss: the dense network with the same extra training minus pruned, in points, paired by seed; None where
            the control was not run.
        device_class: on what it was run.
        hours: device-hours that all its runs took or, where it was not run, may take.
        hours_basis: where `hours` comes from.
        runs: ids behind it.
    """

    claim: Claim
    number: Number
    word: Word
    why: str
    seeds: tuple[int, ...] = ()
    measured: Estimate | None = None
    dense_top1: Estimate | None = None
    pruned_top1: Estimate | None = None
    loss: Estimate | None = None
    control_loss: Estimate | None = None
    device_class: str = ""
    hours: float | None = None
    hours_basis: str = ""
    runs: tuple[str, ...] = ()

    @property
    def difference(self) -> float | None:
        """Measured minus claimed, in the number's unit."""
        return None if self.measured is None else self.measured.mean - self.number.claimed

    @property
    def by_construction(self) -> bool:
        """Whether the target asks for the very number, so that reaching it is no finding."""
        return _asked_for(self.number)

    @property
    def command(self) -> str:
        """What runs this number and its control."""
        return f"{self.claim.command} --target {self.number.target}"


def verdicts(claims: Iterable[Claim], records: Iterable[Record]) -> list[ClaimVerdict]:
    """A verdict for each number of each claim, in order."""
    by_track: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_track[record.track].append(record)
    return [_verdict(claim, number, by_track[claim.track.name]) for claim in claims for number in claim.numbers]


def as_json(verdict: ClaimVerdict) -> dict[str, Any]:
    """A verdict as JSON values."""

    def numbers(estimate: Estimate | None) -> dict[str, Any] | None:
        if estimate is None:
            return None
        bounds = {
            name: value if math.isfinite(value) else None
            for name, value in (("lower", estimate.lower), ("upper", estimate.upper))
        }
        return {"mean": estimate.mean, "half_width": estimate.half_width, "n": estimate.n, **bounds}

    return {
        "claim": verdict.claim.name,
        "method": verdict.claim.method,
        "paper": verdict.claim.paper,
        **verdict.number.model_dump(mode="json"),
        "unit": verdict.number.unit,
        "verdict": verdict.word,
        "why": verdict.why,
        "measured": numbers(verdict.measured),
        "difference": verdict.difference,
        "dense_top1_test": numbers(verdict.dense_top1),
        "pruned_top1_test": numbers(verdict.pruned_top1),
        "loss_points": numbers(verdict.loss),
        "control_loss_points": numbers(verdict.control_loss),
        "by_construction": verdict.by_construction,
        "seeds": list(verdict.seeds),
        "device_class": verdict.device_class,
        "device_hours": verdict.hours,
        "device_hours_basis": verdict.hours_basis,
        "command": verdict.command,
        "runs": list(verdict.runs),
    }


def _verdict(claim: Claim, number: Number, records: Sequence[Record]) -> ClaimVerdict:
    wanted = _deciding(claim.track)
    own = [record for record in records if _deciding_of(json.dumps(record.track_fields)) == wanted]
    classes = sorted({str(record.manifest.get("device_class", "")) for record in own})
    tries = [_on(claim, number, [r for r in own if r.manifest.get("device_class", "") == each]) for each in classes]
    done = [each for each in tries if each.word != "not run"]
    return max(done or tries, key=lambda each: len(each.seeds), default=_not_run(claim, number, ()))


def _on(claim: Claim, number: Number, records: Sequence[Record]) -> ClaimVerdict:
    """The verdict by the runs of one class of device."""
    mine = _by_seed(records, claim.method, number.target, claim.settings)
    rivals = _by_seed(records, number.rival, number.target, number.rival_settings) if number.rival else mine
    controls = _by_seed(records, "dense", "none", {})
    seeds = tuple(seed for seed in claim.seeds if seed in mine and seed in rivals)
    if len(seeds) < len(claim.seeds):
        return _not_run(claim, number, seeds)
    runs = [mine[seed] for seed in seeds]
    failed = [record for record in runs if record.status != "ok"]
    values = _values(number, runs, [rivals[seed] for seed in seeds])
    dense = [r.dense.top1_test for r in runs if r.dense]
    pruned = [r.pruned.top1_test for r in runs if r.pruned]
    if failed or len(values) < len(runs) or len(dense) < len(runs) or len(pruned) < len(runs):
        why = "; ".join(f"seed {r.seed}: {r.status}" for r in failed) or "the records lack the measure"
        return ClaimVerdict(claim, number, "inconclusive", why, seeds, runs=tuple(r.run_id for r in runs))
    measured = Estimate.of(values)
    loss = Estimate.of(100 * (d - p) for d, p in zip(dense, pruned, strict=True))
    against_control = [
        100 * (control.pruned.top1_test - run.pruned.top1_test)
        for run in runs
        if (control := controls.get(run.seed)) is not None and control.pruned and run.pruned
    ]
    control_loss = Estimate.of(against_control) if len(against_control) == len(runs) else None
    word, why = _judge(number, measured, loss, control_loss)
    return ClaimVerdict(
        claim,
        number,
        word,
        why,
        seeds,
        measured,
        Estimate.of(dense),
        Estimate.of(pruned),
        loss,
        control_loss,
        str(runs[0].manifest.get("device_class", "")),
        sum(r.ledger["total"].device_seconds for r in runs) / 3600,
        "measured: all runs of the method, their dense networks included",
        tuple(r.run_id for r in runs),
    )


def _judge(number: Number, measured: Estimate, loss: Estimate, control_loss: Estimate | None) -> tuple[Word, str]:
    """The number, and the accuracy that goes with it against the dense network and against the control."""
    keeps, breaks, reasons = [], [], []
    least = number.claimed if number.significant else number.claimed - number.tolerance
    keeps.append(measured.lower > least if number.significant else measured.lower >= least - 1e-9)
    breaks.append(measured.upper < least - 1e-9)
    reasons.append(f"{_bounds(measured, number.unit)} against {least:g} claimed")
    if _asked_for(number):
        reasons.append("that size was asked for, so that reaching it is no finding")
    if number.loss is not None:
        allowed = number.loss + number.loss_tolerance
        keeps.append(loss.upper <= allowed + 1e-9)
        breaks.append(loss.lower > allowed + 1e-9)
        reasons.append(f"{_bounds(loss, 'points')} lost, {allowed:g} allowed")
        if control_loss is None:
            keeps.append(False)
            reasons.append("the dense control with the same training was not run")
        else:
            keeps.append(control_loss.upper <= allowed + 1e-9)
            reasons.append(f"{_bounds(control_loss, 'points')} against dense with the same training")
    word: Word = "refuted" if any(breaks) else "reproduced" if all(keeps) else "inconclusive"
    return word, "; ".join(reasons)


def _bounds(estimate: Estimate, unit: str) -> str:
    """The mean between its one-sided bounds."""
    if estimate.half_width is None:
        return f"{estimate.mean:.2f} {unit} (one seed: no bounds)"
    return f"{estimate.mean:.2f} {unit} (95 % bounds {estimate.lower:.2f} and {estimate.upper:.2f})"


def _asked_for(number: Number) -> bool:
    """A size of the kind that the target names."""
    measure = Target.parse(number.target).measure
    return (measure, number.measure) in {
        ("macs", "macs_reduction"),
        ("macs", "macs_reduction_convolutions"),
        ("params", "compression"),
        ("params", "compression_weights"),
    }


def _not_run(claim: Claim, number: Number, seeds: tuple[int, ...]) -> ClaimVerdict:
    guess = claim.estimated
    count = len(claim.seeds) * (2 + (number.rival is not None))  # the method, its rival and the control
    why = f"{len(seeds)} of {len(claim.seeds)} seeds have a record" if seeds else "no record"
    return ClaimVerdict(
        claim,
        number,
        "not run",
        why,
        seeds,
        hours=guess.hours_a_run * count if guess else None,
        hours_basis=f"guess for {guess.device}, {count} runs: {guess.basis}" if guess else "no estimate",
    )


def _by_seed(records: Iterable[Record], method: str | None, target: str, settings: dict[str, Any]) -> dict[int, Record]:
    """The newest record of each seed with these settings; without any, at the method's own."""
    found: dict[int, Record] = {}
    for record in sorted(records, key=lambda each: str(each.manifest.get("finished_at", ""))):
        as_asked = all(_plain(record.config.get(name)) == _plain(value) for name, value in settings.items())
        own = " --set " not in str(record.manifest.get("command", ""))
        if (record.method, record.target) == (method, target) and as_asked and (settings or own):
            found[record.seed] = record
    return found


def _values(number: Number, runs: Sequence[Record], rivals: Sequence[Record]) -> list[float]:
    if number.measure == "top1_lead":
        return [
            100 * (mine.pruned.top1_test - other.pruned.top1_test)
            for mine, other in zip(runs, rivals, strict=True)
            if mine.pruned and other.pruned and other.status == "ok"
        ]
    found = [_MEASURES[number.measure](record) for record in runs]
    return [value for value in found if value is not None]


def _convolutions(record: Record) -> float | None:
    dense, pruned = record.dense, record.pruned
    if not (dense and pruned and dense.macs_convolutions) or pruned.macs_convolutions is None:
        return None
    return 100 * (1 - pruned.macs_convolutions / dense.macs_convolutions)


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _deciding(track: Track) -> str:
    return _plain(deciding_fields(track.model_dump(mode="json")))


@lru_cache(maxsize=1000)
def _deciding_of(track_fields: str) -> str:
    """The track's fields, given as JSON text, as this version reads them; empty where it cannot."""
    try:
        return _deciding(Track.model_validate(json.loads(track_fields)))
    except ValidationError:
        return ""


def _plain(value: Any) -> str:
    """A JSON value that compares by content: 1 is 1.0."""
    return json.dumps(json.loads(json.dumps(value), parse_int=float), sort_keys=True)
