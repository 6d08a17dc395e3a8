"""What papers claim beside what was measured: a verdict for each number, from records alone.

A verdict never says more than the records hold: without a run for each of the claim's seeds it is `not run`, with the
command and what it may cost; a size alone reproduces nothing, its accuracy must hold too.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from bench.leaderboard.board.board import Estimate
from bench.records.record import Record
from bench.specs.claim import PREFIX, Claim, Number
from bench.specs.track import Track, deciding_fields

__all__ = ["ClaimVerdict", "as_json", "verdicts"]

Word = Literal["reproduced", "not reproduced", "not run"]

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
        word: `reproduced`, `not reproduced` or `not run`.
        why: the reason, for people.
        seeds: that were run.
        measured: the number, in its unit; None where it was not run.
        dense_top1, pruned_top1: on test.
        loss: dense minus pruned, in points, paired by seed.
        dense_gain: of the dense network given the same training on top: control minus dense, in points; None where the
            control was not run.
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
    dense_gain: Estimate | None = None
    device_class: str = ""
    hours: float | None = None
    hours_basis: str = ""
    runs: tuple[str, ...] = ()

    @property
    def difference(self) -> float | None:
        """Measured minus claimed, in the number's unit."""
        return None if self.measured is None else self.measured.mean - self.number.claimed

    @property
    def command(self) -> str:
        """What runs this number and its control."""
        return f"{self.claim.command} --target {self.number.target}"


def verdicts(claims: Iterable[Claim], records: Iterable[Record]) -> list[ClaimVerdict]:
    """A verdict for each number of each claim, in order."""
    by_track: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_track[record.track].append(record)
    return [_verdict(claim, number, by_track[PREFIX + claim.name]) for claim in claims for number in claim.numbers]


def as_json(verdict: ClaimVerdict) -> dict[str, Any]:
    """A verdict as JSON values."""

    def numbers(estimate: Estimate | None) -> dict[str, Any] | None:
        if estimate is None:
            return None
        return {"mean": estimate.mean, "half_width": estimate.half_width, "n": estimate.n}

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
        "dense_gain_points": numbers(verdict.dense_gain),
        "seeds": list(verdict.seeds),
        "device_class": verdict.device_class,
        "device_hours": verdict.hours,
        "device_hours_basis": verdict.hours_basis,
        "command": verdict.command,
        "runs": list(verdict.runs),
    }


def _verdict(claim: Claim, number: Number, records: Sequence[Record]) -> ClaimVerdict:
    wanted = _deciding(claim.track)
    own = [record for record in records if _deciding_of(record) == wanted]
    classes = sorted({str(record.manifest.get("device_class", "")) for record in own})
    tries = [_on(claim, number, [r for r in own if r.manifest.get("device_class", "") == each]) for each in classes]
    done = [each for each in tries if each.word != "not run"]
    return max(done or tries, key=lambda each: len(each.seeds), default=_not_run(claim, number, ()))


def _on(claim: Claim, number: Number, records: Sequence[Record]) -> ClaimVerdict:
    """The verdict by the runs of one class of device."""
    mine = _by_seed(records, claim.method, number.target, claim.settings)
    rivals = _by_seed(records, number.rival, number.target, {}) if number.rival else mine
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
        return ClaimVerdict(claim, number, "not reproduced", why, seeds, runs=tuple(r.run_id for r in runs))
    measured = Estimate.of(values)
    loss = Estimate.of(100 * (d - p) for d, p in zip(dense, pruned, strict=True))
    gains = [
        100 * (c.pruned.top1_test - c.dense.top1_test)
        for seed in seeds
        if (c := controls.get(seed)) is not None and c.pruned and c.dense
    ]
    word, why = _judge(number, measured, loss)
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
        Estimate.of(gains) if len(gains) == len(seeds) else None,
        str(runs[0].manifest.get("device_class", "")),
        sum(r.ledger["total"].device_seconds for r in runs) / 3600,
        "measured: all runs of the method, their dense networks included",
        tuple(r.run_id for r in runs),
    )


def _judge(number: Number, measured: Estimate, loss: Estimate) -> tuple[Word, str]:
    """Both sides: the number itself, and the accuracy that goes with it."""
    least = number.claimed - number.tolerance
    reached = measured.mean >= least - 1e-9
    reasons = [f"{measured.mean:.2f} {number.unit} against {least:g} asked"]
    if number.significant:
        low = measured.mean - (measured.half_width if measured.half_width is not None else float("inf"))
        reached = low > number.claimed
        reasons = [f"the interval's lower end is {low:.2f} points; above {number.claimed:g} is asked"]
    if number.loss is not None:
        allowed = number.loss + number.loss_tolerance
        reached = reached and loss.mean <= allowed + 1e-9
        reasons.append(f"{loss.mean:.2f} points lost, {allowed:g} allowed")
    return ("reproduced" if reached else "not reproduced"), "; ".join(reasons)


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
    """The newest record of each seed with these settings."""
    found: dict[int, Record] = {}
    for record in sorted(records, key=lambda each: str(each.manifest.get("finished_at", ""))):
        if (record.method, record.target) == (method, target) and all(
            _plain(record.config.get(name)) == _plain(value) for name, value in settings.items()
        ):
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


def _deciding_of(record: Record) -> str:
    """The track's fields as this version reads them; empty where it cannot."""
    try:
        return _deciding(Track.model_validate(record.track_fields))
    except ValidationError:
        return ""


def _plain(value: Any) -> str:
    """A JSON value that compares by content: 1 is 1.0."""
    return json.dumps(json.loads(json.dumps(value), parse_int=float), sort_keys=True)
