"""From records to a leaderboard: pure arithmetic, no drawing.

Two runs are in one row when only the seed differs, and two rows are in one table when their protocol is the same
(`bench.leaderboard.board.comparable`); the table's ranking is `bench.leaderboard.board.ranking`'s. Rows of different
names whose networks are the same, bit by bit, are one row.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from bench.errors import UsageError
from bench.leaderboard.board.board import (
    Badges,
    Board,
    Estimate,
    ExcludedRun,
    Row,
    Table,
    TrackSummary,
)
from bench.leaderboard.board.comparable import Protocol, editions, protocol_of, text
from bench.leaderboard.board.latency import usual_latency
from bench.leaderboard.board.ranking import rank_table
from bench.leaderboard.board.rows import command_of, row_of, variant_key, variant_words
from bench.leaderboard.board.run_group import RunGroup
from bench.records.evidence import Evidence
from bench.records.record import Record
from bench.records.store import Unreadable
from bench.specs.target import Target

__all__ = ["summarise"]


def summarise(
    records: Iterable[Record], unreadable: Iterable[Unreadable] = (), evidence: Mapping[str, Evidence] | None = None
) -> Board:
    """The leaderboard of these records; a record that is there twice counts once.

    Args:
        records: all of them.
        unreadable: files that could not be read as records.
        evidence: by run id, what lies beside a record; None: nothing is known of that.
    """
    by_id = {record.run_id: record for record in records}
    by_track: dict[str, list[Record]] = defaultdict(list)
    for run_id in sorted(by_id):
        by_track[by_id[run_id].track].append(by_id[run_id])
    return Board(
        tuple(_track(name, by_track[name], evidence or {}) for name in sorted(by_track)),
        tuple(_name_and_reason(each) for each in unreadable),
    )


def _track(name: str, records: list[Record], evidence: Mapping[str, Evidence]) -> TrackSummary:
    left_out = [_left_out(record, reason) for record in records if (reason := _reason(record))]
    by_table = _by_table([record for record in records if not _reason(record)])
    edition = editions({key: found[0] for key, found in by_table.items()})
    ranked = all(record.track_fields.get("ranked", True) is not False for record in records)
    tables = []
    for key in sorted(by_table):
        table, doubles = _table(key, by_table[key], edition[key], ranked, evidence)
        tables.append(table)
        left_out += doubles
    fields = records[-1].track_fields
    return TrackSummary(
        name=name,
        text=text(fields.get("summary", "")),
        facts={key: text(fields[key]) for key in ("dataset", "network", "tolerance", "threads") if key in fields},
        ranked=ranked,
        tables=tuple(tables),
        left_out=tuple(sorted(left_out, key=lambda each: (each.method, each.target, each.seed, each.run_id))),
    )


def _by_table(records: list[Record]) -> dict[Protocol, list[Record]]:
    """The records table by table; those without a target (the dense network) are of no kind, and stand in both."""
    by_table: dict[Protocol, list[Record]] = defaultdict(list)
    for record in records:
        if record.target != "none":
            by_table[protocol_of(record)].append(record)
    pruning = list(by_table)
    for record in records:
        if record.target == "none":
            own = protocol_of(record)
            for key in [key for key in pruning if key[1:] == own[1:]] or [own]:
                by_table[key].append(record)
    return by_table


def _table(
    key: Protocol, records: list[Record], edition: str, ranked: bool, evidence: Mapping[str, Evidence]
) -> tuple[Table, list[ExcludedRun]]:
    keys = {record.run_id: variant_key(record) for record in records}
    by_row: dict[tuple[str, str, str], dict[int, Record]] = defaultdict(dict)
    doubles = []
    for record in records:
        group = by_row[record.method, keys[record.run_id], record.target]
        if record.seed in group:
            reason = f"{group[record.seed].run_id} is counted: the same method, settings, target and seed"
            doubles.append(_left_out(record, reason))
        else:
            group[record.seed] = record
    variants = variant_words(records, keys)
    usual = usual_latency(records)
    every = [
        _run_group(group.values(), variants[method, variant], usual, evidence)
        for (method, variant, _), group in by_row.items()
    ]
    groups = _merge_twins(sorted(every, key=lambda each: _order(each.row)))
    ranking, ranks = rank_table(groups, _listed(records), ranked)
    rows = [replace(group.row, rank=rank) for group, rank in zip(groups, ranks, strict=True)]
    dense = {record.seed: record.dense for record in records if record.dense}
    table = Table(
        kind=key.kind,
        budget_amount=key.amount,
        budget_unit=key.unit,
        device_class=key.device,
        edition=edition,
        rows=tuple(row for row in rows if row.target != "auto"),
        curve_only=tuple(row for row in rows if row.target == "auto"),
        dense_top1_test=Estimate.of(each.top1_test for each in dense.values()),
        dense_macs=fmean(each.macs for each in dense.values()),
        ranking=ranking,
        groups=_narrowed(records) if key.kind == "structured" else None,
    )
    return table, doubles


def _narrowed(records: Iterable[Record]) -> int | None:
    """How many layers some run narrowed: as many prunable groups there are at most."""
    layers = [layer for record in records for layer in record.layers]
    return len({layer.name for layer in layers if layer.width_after < layer.width_before}) if layers else None


def _run_group(
    group: Iterable[Record], variant: str, usual: Mapping[int, float], evidence: Mapping[str, Evidence]
) -> RunGroup:
    records = sorted(group, key=lambda record: record.seed)
    made = RunGroup(row_of(records, variant, usual), tuple(records))
    beside = [evidence.get(record.run_id, Evidence()) for record in records]
    badges = Badges(
        len(records), made.tries, sum(each.network for each in beside), sum(each.verified for each in beside)
    )
    return replace(made, row=replace(made.row, badges=badges))


def _merge_twins(groups: Sequence[RunGroup]) -> list[RunGroup]:
    """Methods at one target that ended in the same networks at every seed, as one row under the first one's name."""
    merged: dict[tuple[object, ...], RunGroup] = {}
    for group in groups:
        networks = tuple(sorted(group.networks.items()))
        whole = group.sized and len(networks) == len(group.records) and all(sha256 for _, sha256 in networks)
        key = (group.row.target, group.row.control, networks) if whole else (id(group),)
        first = merged.get(key)
        if first is None:
            merged[key] = group
        else:
            row = replace(
                first.row,
                twins=(*first.row.twins, group.row.own_label),
                methods=tuple(dict.fromkeys((*first.row.methods, group.row.method))),
                runs=first.row.runs + group.row.runs,
            )
            merged[key] = replace(first, row=row, twins=(*first.twins, group))
    return list(merged.values())


def _order(row: Row) -> tuple[tuple[int, str, float, str], bool, float, str, str]:
    """By target, methods before controls, the best mean first."""
    return _target_order(row.target), row.control, -row.top1_test.mean, row.method, row.variant


def _listed(records: Iterable[Record]) -> tuple[str, ...]:
    """The targets that the track names, as its records have them."""
    found = (record.track_fields.get("targets") for record in records)
    return tuple(
        dict.fromkeys(text(each) for targets in found if isinstance(targets, list | tuple) for each in targets)
    )


def _reason(record: Record) -> str:
    """Why no row counts this run; empty where one does."""
    if record.status == "ok":
        whole = record.dense and record.pruned and record.ratios and "total" in record.ledger
        return "" if whole else "the record lacks the dense or the pruned network's measures"
    if record.error and record.error.strip():
        return record.error.strip().splitlines()[-1].strip()
    if record.status == "missed-target" and record.ratios:
        measure = "params" if record.target.startswith("params") else "macs"
        return f"reached {measure}={getattr(record.ratios, measure):.4g}"
    if record.status == "undertrained" and record.dense:
        floor = text(record.track_fields.get("floor"))
        return f"the dense network's validation top-1 is {record.dense.top1_val:.4g}, below the floor {floor}"
    return "no reason recorded"


def _left_out(record: Record, reason: str) -> ExcludedRun:
    return ExcludedRun(
        record.run_id, record.method, record.target, record.seed, record.status, reason, command_of(record)
    )


def _target_order(text: str) -> tuple[int, str, float, str]:
    """Without a target first, then by measure, the largest ratio first; a text that is no target last."""
    try:
        target = Target.parse(text)
    except UsageError:
        return 2, "", 0.0, text
    return int(target.has_size), target.measure, -(target.ratio or 0.0), text


def _name_and_reason(unreadable: Unreadable) -> tuple[str, str]:
    """The file by its run's folder: where a store lies on somebody's disk is nobody's business."""
    name = f"{unreadable.path.parent.name}/{unreadable.path.name}"
    path = str(unreadable.path)
    return name, unreadable.reason.removeprefix(f"record {path}: ").replace(path, name)
