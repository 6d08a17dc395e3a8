"""`bench gate`: whether the runs of a change run_gate what the runs before it reached. For CI.

A baseline folder of records is held against a store, row by row: method, track and target, over the seeds that both
have. A row fails when

- a run of the baseline has no counterpart, or one whose status is worse;
- a size is not exactly equal, seed by seed: MACs and parameters, dense and pruned, and for single weights the counts of
  those that are not zero; or a measure that the baseline's record has is missing;
- budget, data or device class are not the same, so that nothing follows from its accuracies;
- its top-1 on test fell too far. Let the fall be the mean over seeds of baseline minus head. It is too far when it is
  `limit` or more (2 percentage points), whatever the noise; or when it is more than `margin` (1 point) and the 90 %
  interval of the difference, by seed and by image (`bench.leaderboard.compare.difference`), lies below zero, so that a
  row that did not change crosses it by chance in at most one of twenty cases.

A fall of three points that was measured always fails, and bitwise equal runs never do. A true fall of three points on
400 test images is found in 84 % of cases by one seed, in 93 % by two and in 97 % by three; a row that did not fall
fails in 3 %, 1 % and 1 %. That is from a simulation with as many images changing sides as between `digits-lenet5`'s
committed runs of different seeds, of which, held against each other one by one, 6 % fail.

Time is shown and never fails: it can be compared only between runs of one job on one machine. Files that cannot be read
fail the gate, and so does a gate that compared nothing.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from bench.errors import UsageError, unknown_name
from bench.leaderboard.compare.counterparts import Pair, pair_up
from bench.leaderboard.compare.difference import AccuracyDifference, difference
from bench.leaderboard.compare.facts import differing, incomparable_reasons
from bench.leaderboard.stats.correct_bits import checked_bits
from bench.records.record import Measured, Record
from bench.records.store import Unreadable, read_briefs

__all__ = ["CONFIDENCE", "Gate", "GateRow", "Rule", "judge", "run_gate"]

CONFIDENCE = 0.90  # of the two-sided interval: one side is 95 %
_BADNESS = {
    "ok": 0,
    "missed-target": 1,
    "undertrained": 1,
    "failed": 2,
    "invalid": 2,
    "timed-out": 2,
    "out-of-memory": 2,
}
_SAME_MACHINE = ("processor", "cores", "cpu_capability", "gpu", "system")


@dataclass(frozen=True)
class Rule:
    """When a fall of top-1 is too far, in percentage points.

    Attributes:
        margin: up to this a fall never fails.
        limit: from this on it always does; between the two when it is significant.
    """

    margin: float = 1.0
    limit: float = 2.0

    def __post_init__(self) -> None:
        if not 0 <= self.margin <= self.limit <= 100:
            raise UsageError(
                f"margin {self.margin:g} and limit {self.limit:g} points: give 0 <= margin <= limit <= 100, such as "
                "--margin 1 --limit 2."
            )


@dataclass(frozen=True)
class GateRow:
    """One method at one target of a track, over the seeds. Accuracies are fractions.

    Attributes:
        track, method, target: what the row is.
        variant: settings that set it apart from other rows of the same method and target; mostly empty.
        seeds: that were compared.
        base, head: the runs that were compared, one a seed.
        difference: of top-1 on test, head minus baseline; None where no seed could be compared.
        equal: every network is bitwise the baseline's.
        latency: head's time of a forward pass over the baseline's, by batch size; empty on other hardware.
        failures: why the row fails; empty where it holds.
        notes: what else differs.
        new: the baseline has no such row, so that nothing is judged.
    """

    track: str
    method: str
    target: str
    variant: str
    seeds: tuple[int, ...]
    base: tuple[Record, ...]
    head: tuple[Record, ...]
    difference: AccuracyDifference | None
    equal: bool
    latency: dict[int, float]
    failures: tuple[str, ...]
    notes: tuple[str, ...]
    new: bool = False

    @property
    def verdict(self) -> str:
        """`fails`, `new`, `not measured` (on neither side), `equal` (bit by bit) or `holds`."""
        if self.failures:
            return "fails"
        if self.new or self.difference is None:
            return "new" if self.new else "not measured"
        return "equal" if self.equal else "holds"


@dataclass(frozen=True)
class Gate:
    """What the gate found.

    Attributes:
        rows: by track, method and target.
        problems: what fails the gate as a whole.
        rule: by which accuracies were judged.
    """

    rows: tuple[GateRow, ...]
    problems: tuple[str, ...]
    rule: Rule

    @property
    def failing(self) -> tuple[GateRow, ...]:
        """The rows that fail."""
        return tuple(row for row in self.rows if row.failures)

    @property
    def compared(self) -> int:
        """Number of pairs of runs whose networks were compared."""
        return sum(len(row.seeds) for row in self.rows if row.difference is not None)

    @property
    def holds(self) -> bool:
        """Whether the change may pass."""
        return not self.problems and not self.failing and self.compared > 0


def run_gate(baseline: Path, store: Path, rule: Rule, tracks: Sequence[str] = (), methods: Sequence[str] = ()) -> Gate:
    """Holds a store against a folder of records; only the named tracks and methods, if any are named.

    Raises:
        UsageError: both are the same folder, which would run_gate whatever is in it; or a name is not in the baseline.
    """
    if baseline.resolve() == store.resolve():
        raise UsageError(f"--baseline and --store are the same folder, {str(store)!r}. Give two.")
    found: list[list[Record]] = []
    unreadable: list[Unreadable] = []
    for folder, what in ((baseline, "--baseline"), (store, "--store")):
        if not folder.is_dir():
            problem = f"{folder} is not a folder. Give {what} a folder of records."
            return Gate((), (problem,), rule)
        records, broken = read_briefs(folder)
        unreadable += broken
        found.append(records)
    base, head = ([each for each in records if _named(each, tracks, methods)] for records in found)
    for what, names, known in (
        ("track", tracks, {record.track for record in found[0]}),
        ("method", methods, {record.method for record in found[0]}),
    ):
        for name in names:
            if known and name not in known:
                raise unknown_name(f"{what} of the baseline", name, known)
    return judge(base, head, rule, unreadable)


def _named(record: Record, tracks: Sequence[str], methods: Sequence[str]) -> bool:
    return record.track in (tracks or (record.track,)) and record.method in (methods or (record.method,))


def judge(
    base: Sequence[Record],
    head: Sequence[Record],
    rule: Rule | None = None,
    unreadable: Iterable[Unreadable] = (),
) -> Gate:
    """Holds the head's records against the baseline's."""
    rule = rule or Rule()
    problems = [_unreadable(each) for each in unreadable]
    if not base:
        problems.append("the baseline has no records. Give --baseline a folder that holds records.")
    if not head:
        problems.append("the store has no records. Run the baseline's methods into it first, or give --store DIR.")
    rows = _rows(pair_up(base, head), rule) if base and head else []
    gate = Gate(tuple(rows), tuple(problems), rule)
    if base and head and not gate.compared:
        why = "nothing was compared: no run of the baseline has a counterpart in the store with both networks measured."
        gate = replace(gate, problems=(*gate.problems, why))
    return gate


def _rows(pairs: Sequence[Pair], rule: Rule) -> list[GateRow]:
    grouped: dict[tuple[str, str, str], dict[str, list[Pair]]] = defaultdict(lambda: defaultdict(list))
    for pair in pairs:
        record = pair.any
        group = grouped[record.track, record.method, record.target]
        group[f"{'new' if pair.base is None else ''}{sorted(record.config.items())}"].append(pair)
    rows = []
    for group in grouped.values():
        variants = _variants([each[0].any for each in group.values()])
        rows += [_row(each, variant, rule) for each, variant in zip(group.values(), variants, strict=True)]
    return sorted(rows, key=lambda row: (row.track, row.method, row.target, row.variant, row.new))


def _variants(records: Sequence[Record]) -> list[str]:
    """The settings that set rows of one method and target apart; empty where there is one row."""
    settings = [each for each in differing(records) if each.group == "setting"]
    return [", ".join(f"{each.name}={each.values[place]}" for each in settings) for place in range(len(records))]


def _row(pairs: Sequence[Pair], variant: str, rule: Rule) -> GateRow:
    first = pairs[0].any
    both = [(pair.base, pair.head) for pair in pairs if pair.base and pair.head]
    missing = [str(pair.base.seed) for pair in pairs if pair.base is not None and pair.head is None]
    failures = [f"seed {', '.join(missing)}: no run in the store"] if missing else []
    notes: list[str] = []
    measured = []
    for old, new in both:
        failures += [f"seed {old.seed}: {reason}" for reason in _wrong(old, new)]
        notes += [note for note in _notes(old, new) if note not in notes]
        if old.pruned and new.pruned:
            measured.append((old, new))
    gained = difference([(o.pruned, n.pruned) for o, n in measured if o.pruned and n.pruned]) if measured else None
    if gained is not None and (fall := _too_far(gained, rule)):
        failures.append(fall)
    return GateRow(
        track=first.track,
        method=first.method,
        target=first.target,
        variant=variant,
        seeds=tuple(old.seed for old, _ in both),
        base=tuple(old for old, _ in both),
        head=tuple(new for _, new in both) or tuple(pair.head for pair in pairs if pair.head),
        difference=gained,
        equal=bool(measured) and len(measured) == len(pairs) and all(_equal(old, new) for old, new in measured),
        latency=_latency(measured),
        failures=tuple(failures),
        notes=tuple(notes),
        new=all(pair.base is None for pair in pairs),
    )


def _too_far(gained: AccuracyDifference, rule: Rule) -> str:
    """Why the accuracy's fall fails the row; empty where it does not."""
    fall = -100 * gained.mean
    half = gained.half_width(CONFIDENCE)
    width = "" if half is None else f" ± {100 * half:.2f}"
    seeds = "1 seed" if gained.seeds == 1 else f"{gained.seeds} seeds"
    text = f"top-1 on test fell by {fall:.2f}{width} points over {seeds}"
    if fall >= rule.limit - 1e-9 and fall > 1e-9:
        return f"{text}; {rule.limit:g} or more always fail"
    if fall <= rule.margin + 1e-9:
        return ""
    if half is None:
        return f"{text}, more than {rule.margin:g}, and the records do not tell how much of it is chance"
    return f"{text}: significant, and more than {rule.margin:g}" if fall > 100 * half else ""


def _wrong(base: Record, head: Record) -> list[str]:
    """What must be exactly equal and is not."""
    found = incomparable_reasons([base, head])
    if _BADNESS[head.status] > _BADNESS[base.status]:
        found.append(f"status {base.status} → {head.status}{_last_line(head.error)}")
    for name, old, new in (("dense", base.dense, head.dense), ("pruned", base.pruned, head.pruned)):
        if old is None:
            continue
        if new is None:
            if head.status == base.status:
                found.append(f"the {name} network is not measured")
            continue
        sizes = ["macs", "params"] + (["macs_nonzero", "nonzero"] if base.kind == "unstructured" else [])
        for size in sizes:
            before, after = getattr(old, size), getattr(new, size)
            if before != after:
                found.append(f"{name} {_SIZES[size]} {before:,} → {after:,} ({after - before:+,})")
        try:
            checked_bits(new)
        except ValueError as error:
            found.append(f"{name}: {error}")
    lost = [name for name in _fields(base) if name not in set(_fields(head))]
    if lost and head.pruned is not None:
        found.append(f"the record has no {', '.join(lost)} any more")
    return found


_SIZES = {"macs": "MACs", "params": "params", "macs_nonzero": "MACs by nonzero weights", "nonzero": "nonzero params"}


def _fields(record: Record) -> list[str]:
    """The measures that a record has."""
    parts: dict[str, Any] = {"dense": record.dense, "pruned": record.pruned, "ratios": record.ratios}
    return [
        f"{part}.{name}"
        for part, values in parts.items()
        if values is not None
        for name in values.model_dump(exclude_none=True)
        if name != "loss_val"  # None where it is not finite
    ]


def _notes(base: Record, head: Record) -> list[str]:
    """Settings and track fields that differ."""
    return [
        f"{each.group} {each.name}: {each.values[0]} → {each.values[1]}"
        for each in differing([base, head])
        if each.group in ("setting", "track")
    ]


def _equal(base: Record, head: Record) -> bool:
    assert base.pruned and head.pruned
    names = ("weights_sha256", "top1_test", "correct_test")
    return all(getattr(base.pruned, name) == getattr(head.pruned, name) for name in names)


def _latency(pairs: Sequence[tuple[Record, Record]]) -> dict[int, float]:
    """Geometric mean over seeds of head over baseline, by batch size; empty unless all ran on the same hardware."""
    if not all(_machine(old) == _machine(new) is not None for old, new in pairs):
        return {}
    logs: dict[int, list[float]] = defaultdict(list)
    for old, new in pairs:
        before, after = _medians(old.pruned), _medians(new.pruned)
        for batch in sorted(set(before) & set(after)):
            logs[batch].append(math.log(after[batch] / before[batch]))
    return {batch: math.exp(fmean(values)) for batch, values in sorted(logs.items()) if len(values) == len(pairs)}


def _medians(measured: Measured | None) -> dict[int, float]:
    return {row.batch: row.median_seconds for row in measured.latency if row.median_seconds > 0} if measured else {}


def _machine(record: Record) -> Any:
    hardware = record.manifest.get("hardware")
    return [hardware.get(name) for name in _SAME_MACHINE] if isinstance(hardware, dict) else None


def _last_line(error: str | None) -> str:
    lines = (error or "").strip().splitlines()
    return f": {lines[-1].strip()}" if lines else ""


def _unreadable(each: Unreadable) -> str:
    """The file by its run's folder."""
    path = str(each.path)
    name = f"{each.path.parent.name}/{each.path.name}"
    return f"{name} cannot be read: {each.reason.removeprefix(f'record {path}: ').replace(path, name)}"
