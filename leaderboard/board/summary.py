"""From records to a leaderboard: pure arithmetic, no drawing.

Two runs are in one row when only the seed differs, and two rows are in one table when their protocol is the same
(`bench.leaderboard.board.comparable`); the table's ranking is `bench.leaderboard.board.ranking`'s. Rows of different
names whose networks are the same, bit by bit, are one row.
"""

import shlex
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
    Run,
    Table,
    TrackSummary,
    seed_status,
)
from bench.leaderboard.board.comparable import Protocol, digest, editions, protocol_of, text
from bench.leaderboard.board.latency import latency_changes, usual_latency
from bench.leaderboard.board.ranking import rank_table
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
    keys = {record.run_id: _variant_key(record) for record in records}
    by_row: dict[tuple[str, str, str], dict[int, Record]] = defaultdict(dict)
    doubles = []
    for record in records:
        group = by_row[record.method, keys[record.run_id], record.target]
        if record.seed in group:
            reason = f"{group[record.seed].run_id} is counted: the same method, settings, target and seed"
            doubles.append(_left_out(record, reason))
        else:
            group[record.seed] = record
    variants = _variants(records, keys)
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
    made = RunGroup(_row(records, variant, usual), tuple(records))
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


def _row(records: list[Record], variant: str, usual: Mapping[int, float]) -> Row:
    triples = [(r.dense, r.pruned, r.ratios) for r in records if r.dense and r.pruned and r.ratios]
    dense = [each[0] for each in triples]
    pruned = [each[1] for each in triples]
    ratios = [each[2] for each in triples]
    spent = [share for record in records if (share := record.spent_share) is not None]
    return Row(
        method=records[0].method,
        control=records[0].control,
        variant=variant,
        target=records[0].target,
        seed_status=seed_status(len(records)),
        top1_test=Estimate.of(p.top1_test for p in pruned),
        dense_top1_test=Estimate.of(d.top1_test for d in dense),
        difference=Estimate.of(p.top1_test - d.top1_test for d, p in zip(dense, pruned, strict=True)),
        macs=Estimate.of(float(p.macs) for p in pruned),
        macs_nonzero=Estimate.of(float(p.macs_nonzero) for p in pruned),
        macs_ratio=fmean(r.macs for r in ratios),
        macs_nonzero_ratio=fmean(
            p.macs_nonzero / d.macs if d.macs else 0.0 for d, p in zip(dense, pruned, strict=True)
        ),
        params_ratio=fmean(r.params for r in ratios),
        compression=fmean(r.compression for r in ratios),
        compression_weights=_mean_of_all(r.compression_weights for r in ratios),
        latency=latency_changes(dense, pruned, usual),
        device_seconds=fmean(record.ledger["total"].device_seconds for record in records),
        spent=fmean(spent) if spent else None,
        own_epochs=_mean_of_all(_own_epochs(record) for record in records),
        runs=tuple(Run(record.run_id, record.seed, _command(record)) for record in records),
        badges=Badges(len(records), None, 0, 0),
        methods=(records[0].method,),
    )


def _own_epochs(record: Record) -> float | None:
    """Epochs of the pruned network that would cost what was spent after the dense network."""
    total, dense = record.ledger.get("total"), record.ledger.get("dense")
    if not (total and record.dense and record.pruned and record.pruned.macs and record.budget.dense_epoch_macs):
        return None
    after = total.macs - (dense.macs if dense else 0)
    return after / (record.budget.dense_epoch_macs * record.pruned.macs / record.dense.macs)


def _mean_of_all(values: Iterable[float | None]) -> float | None:
    """The mean; None where one is missing."""
    every = list(values)
    known = [value for value in every if value is not None]
    return fmean(known) if known and len(known) == len(every) else None


def _variant_key(record: Record) -> str:
    return digest([record.config, record.manifest.get("method_sha256")])


def _variants(records: list[Record], keys: dict[str, str]) -> dict[tuple[str, str], str]:
    """What sets each variant of a method apart from the others: the settings that differ, else its code."""
    seen: dict[str, dict[str, Record]] = defaultdict(dict)
    for record in records:
        seen[record.method][keys[record.run_id]] = record
    labels = {}
    for method, variants in seen.items():
        configs = [record.config for record in variants.values()]
        differing = sorted(
            key
            for key in {key for config in configs for key in config}
            if len({digest(config.get(key)) for config in configs}) > 1
        )
        sources = {text(record.manifest.get("method_sha256", "")) for record in variants.values()}
        for key, record in variants.items():
            parts = [f"{name}={text(record.config.get(name))}" for name in differing]
            if len(sources) > 1:
                parts.append(f"code {text(record.manifest.get('method_sha256', 'unknown'))[:8]}")
            labels[method, key] = ", ".join(parts)
    return labels


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
        record.run_id, record.method, record.target, record.seed, record.status, reason, _command(record)
    )


def _command(record: Record) -> str:
    command = record.manifest.get("command")
    if isinstance(command, list | tuple):
        return shlex.join(str(part) for part in command)
    return command if isinstance(command, str) and command else "not recorded"


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
