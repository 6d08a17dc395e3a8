"""What a row says: means over the seeds of one method at one target, and what sets it apart from its variants."""

import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import fmean

from bench.leaderboard.board.board import Badges, Estimate, Row, Run, seed_status
from bench.leaderboard.board.comparable import digest, text
from bench.leaderboard.board.latency import latency_changes
from bench.records.record import Record

__all__ = ["command_of", "row_of", "variant_key", "variant_words"]


def row_of(records: list[Record], variant: str, usual: Mapping[int, float]) -> Row:
    """The row of these records, one a seed; its badges know nothing but the seeds yet.

    Args:
        records: of one method and target, whole.
        variant: what sets them apart from others of the method.
        usual: time of the table's dense networks, by batch size.
    """
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
        runs=tuple(Run(record.run_id, record.seed, command_of(record)) for record in records),
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


def variant_key(record: Record) -> str:
    """What is one variant of a method: settings and source."""
    return digest([record.config, record.manifest.get("method_sha256")])


def variant_words(records: list[Record], keys: dict[str, str]) -> dict[tuple[str, str], str]:
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


def command_of(record: Record) -> str:
    """The command that makes a run again."""
    command = record.manifest.get("command")
    if isinstance(command, list | tuple):
        return shlex.join(str(part) for part in command)
    return command if isinstance(command, str) and command else "not recorded"
