"""`bench compare`: runs side by side, from their records: what differs, what came of it, and may it be compared.

Top-1 on test is compared image by image, each run with the first (`bench.leaderboard.compare.difference`): the
difference with its 95 % interval over the test images, and McNemar's exact test. Two runs are two networks; what
another seed would have given is not in that interval. For methods, as against runs, see the leaderboard.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from bench.errors import UsageError
from bench.leaderboard.compare.difference import AccuracyDifference, McNemar, difference, mcnemar
from bench.leaderboard.compare.facts import Differing, differing, differing_recipe_fields, incomparable_reasons
from bench.records.record import Measured, Record

__all__ = ["CONFIDENCE", "Against", "Measure", "RunComparison", "WidthRow", "compare_runs"]

CONFIDENCE = 0.95

Number = float | int | str | None


@dataclass(frozen=True)
class Measure:
    """One result, a value a run; None where a record does not have it.

    Attributes:
        name: with its unit.
        kind: how it is written: `fraction`, `count`, `seconds` or `text`.
        values: one a run.
    """

    name: str
    kind: str
    values: tuple[Number, ...]


@dataclass(frozen=True)
class Against:
    """One run against the first: top-1 on test, the run minus the first.

    Attributes:
        run_id: of the run.
        difference, mcnemar: None where a network is not measured, or the data are not the same.
    """

    run_id: str
    difference: AccuracyDifference | None
    mcnemar: McNemar | None


@dataclass(frozen=True)
class WidthRow:
    """One layer's output width before pruning and after it, a value a run; None where a run has no such layer."""

    name: str
    before: tuple[int | None, ...]
    after: tuple[int | None, ...]


@dataclass(frozen=True)
class RunComparison:
    """Runs side by side.

    Attributes:
        records: the runs, in the order that was asked for.
        warnings: why their numbers may not be held against each other; empty where they may.
        differing: settings, track fields and facts of the manifest that are not the same.
        results: measures.
        against: each run but the first against the first.
        ledger: by phase: MACs and device seconds.
        layers: widths.
    """

    records: tuple[Record, ...]
    warnings: tuple[str, ...]
    differing: tuple[Differing, ...]
    results: tuple[Measure, ...]
    against: tuple[Against, ...]
    ledger: tuple[Measure, ...]
    layers: tuple[WidthRow, ...]

    @property
    def comparable(self) -> bool:
        """Whether the numbers may be held against each other."""
        return not self.warnings


def compare_runs(records: Sequence[Record]) -> RunComparison:
    """Sets two or more runs side by side.

    Raises:
        UsageError: fewer than two different runs.
    """
    if len({record.to_json() for record in records}) < 2:
        raise UsageError("bench compare takes two different runs or more: bench compare RUN RUN.")
    first = records[0]
    return RunComparison(
        records=tuple(records),
        warnings=tuple(_warnings(records)),
        differing=tuple(differing(records)),
        results=tuple(measure for measure in _results(records) if any(value is not None for value in measure.values)),
        against=tuple(_against(first, record) for record in records[1:]),
        ledger=tuple(_ledger(records)),
        layers=tuple(_layers(records)),
    )


def _warnings(records: Sequence[Record]) -> list[str]:
    found = incomparable_reasons(records)
    if len({record.track for record in records}) == 1 and (fields := differing_recipe_fields(records)):
        found.append(f"other track fields: {', '.join(fields)}")
    dense = {str(record.manifest.get("dense_sha256")) for record in records if record.dense}
    same_start = len({(record.track, record.seed) for record in records}) == 1
    if same_start and len(dense) > 1 and not found:
        found.append("other dense network: the same track and seed, but not the same weights to start from")
    found += [f"{record.run_id} is {record.status}" for record in records if record.status != "ok"]
    return found


def _results(records: Sequence[Record]) -> list[Measure]:
    def measure(name: str, kind: str, value: Callable[[Record], Number]) -> Measure:
        return Measure(name, kind, tuple(value(record) for record in records))

    def networks(name: str, kind: str, value: Callable[[Measured], Number]) -> list[Measure]:
        return [
            measure(f"{name}, dense", kind, lambda r: value(r.dense) if r.dense else None),
            measure(f"{name}, pruned", kind, lambda r: value(r.pruned) if r.pruned else None),
        ]

    batches = sorted(
        {row.batch for r in records for network in (r.dense, r.pruned) if network for row in network.latency}
    )
    return [
        measure("status", "text", lambda r: r.status),
        *networks("top-1 validation", "fraction", lambda m: m.top1_val),
        *networks("top-1 test", "fraction", lambda m: m.top1_test),
        *networks("top-5 test", "fraction", lambda m: m.top5_test),
        *networks("MACs", "count", lambda m: m.macs),
        measure("MACs kept", "fraction", lambda r: r.ratios.macs if r.ratios else None),
        measure("MACs by nonzero weights, pruned", "count", lambda r: r.pruned.macs_nonzero if r.pruned else None),
        *networks("params", "count", lambda m: m.params),
        measure("params kept", "fraction", lambda r: r.ratios.params if r.ratios else None),
        measure("nonzero params, pruned", "count", lambda r: r.pruned.nonzero if r.pruned else None),
        *networks("bytes", "count", lambda m: m.bytes),
        *networks("peak bytes", "count", lambda m: m.peak_bytes),
        *(
            each
            for batch in batches
            for each in networks(f"latency, batch {batch}", "seconds", partial(_latency, batch=batch))
        ),
        measure("spent of the budget", "fraction", lambda r: r.spent_share),
    ]


def _latency(measured: Measured, batch: int) -> float | None:
    return next((row.median_seconds for row in measured.latency if row.batch == batch), None)


def _against(first: Record, record: Record) -> Against:
    data = {str(each.manifest.get("data_fingerprint")) for each in (first, record)}
    if first.pruned is None or record.pruned is None or len(data) > 1:
        return Against(record.run_id, None, None)
    return Against(record.run_id, difference([(first.pruned, record.pruned)]), mcnemar(first.pruned, record.pruned))


def _ledger(records: Sequence[Record]) -> list[Measure]:
    phases = dict.fromkeys(phase for record in records for phase in record.ledger)
    found = []
    for phase in phases:
        spent = [record.ledger.get(phase) for record in records]
        found.append(Measure(f"{phase}, MACs", "count", tuple(each.macs if each else None for each in spent)))
        seconds = tuple(each.device_seconds if each else None for each in spent)
        found.append(Measure(f"{phase}, device time", "seconds", seconds))
    return found


def _layers(records: Sequence[Record]) -> list[WidthRow]:
    by_name = [{layer.name: layer for layer in record.layers} for record in records]
    names = dict.fromkeys(name for layers in by_name for name in layers)
    return [
        WidthRow(
            name,
            tuple(layers[name].width_before if name in layers else None for layers in by_name),
            tuple(layers[name].width_after if name in layers else None for layers in by_name),
        )
        for name in names
    ]
