"""A record in W&B's terms: id, name, tags, config, summary, a row of the suite's table. Plain values, without wandb."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from bench.errors import UsageError
from bench.records.record import Measured, Record
from bench.specs.run import RunSpec
from bench.specs.target import Target

__all__ = ["plan_config", "record_digest", "run_config", "run_name", "run_summary", "run_tags", "suite_row", "wandb_id"]

_ID_LIMIT = 64


def wandb_id(run_id: str) -> str:
    """The W&B id of a run: its own where W&B takes it, else a shorter one that keeps the hash at its end."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "-", run_id)
    if len(safe) <= _ID_LIMIT:
        return safe
    head, _, tail = safe.rpartition("-")
    tail = tail[-40:]
    return f"{head[: _ID_LIMIT - 1 - len(tail)].rstrip('-')}-{tail}"


def run_config(record: Record) -> dict[str, Any]:
    """What was asked for and where it ran, in one level: nested keys are a pain to filter by in W&B."""
    return {
        **_flat(record.manifest),
        **_flat({key: record.track_fields.get(key) for key in ("dataset", "network", "threads", "ranked")}),
        **{f"set.{key}": value for key, value in _flat(record.config).items()},
        "run_id": record.run_id,
        "method": record.method,
        "kind": record.kind,
        "control": record.control,
        "track": record.track,
        **_target(record.target),
        "seed": record.seed,
        "budget_amount": record.budget.amount,
        "budget_unit": record.budget.unit,
    }


def plan_config(spec: RunSpec, command: str) -> dict[str, Any]:
    """What is known of a run before it has a record: the same keys with the same values as `run_config` has later."""
    return {
        **_flat({key: getattr(spec.track, key) for key in ("dataset", "network", "threads", "ranked")}),
        **{f"set.{key}": value for key, value in _flat(spec.config).items()},
        "run_id": spec.run_id,
        "method": spec.method,
        "track": spec.track.name,
        **_target(str(spec.target)),
        "seed": spec.seed,
        "command": command,
    }


def _target(text: str) -> dict[str, Any]:
    """The target as it is written, and as a number to filter and plot by."""
    try:
        target = Target.parse(text)
    except UsageError:
        return {"target": text}
    ratio = {} if target.ratio is None else {"target_ratio": target.ratio}
    return {"target": text, "target_measure": target.measure, **ratio}


def suite_row(record: Record) -> dict[str, Any]:
    """One row of the suite's table: scalars by column."""
    summary = run_summary(record)
    columns = ("dense_top1_test", "pruned_top1_test", "ratio_macs", "ratio_params", "macs", "nonzero", "device_seconds")
    return {
        "run": wandb_id(record.run_id),
        "method": record.method,
        "track": record.track,
        "target": record.target,
        "seed": record.seed,
        "status": record.status,
        **{column: summary.get(column) for column in columns},
    }


def run_summary(record: Record) -> dict[str, Any]:
    """The final scalars: accuracies are fractions, sizes without a prefix are the pruned network's.

    What each phase spent is below `phase/`; without that it is the whole run's.
    """
    summary: dict[str, Any] = {"status": record.status}
    if record.error:
        summary["error"] = record.error.strip().splitlines()[-1][:500]
    if record.dense:
        summary |= {f"dense_{key}": value for key, value in _scalars(record.dense).items()}
    if record.pruned:
        scalars = _scalars(record.pruned)
        summary |= {f"pruned_{key}" if key.startswith("top") else key: scalars[key] for key in scalars}
    if record.ratios:
        summary |= {f"ratio_{key}": value for key, value in record.ratios.model_dump().items()}
    for phase, spent in record.ledger.items():
        prefix = "" if phase == "total" else f"phase/{phase}/"
        summary[f"{prefix}device_seconds"] = spent.device_seconds
        summary[f"{prefix}spent_macs"] = spent.macs
    return {key: value for key, value in summary.items() if value is not None}


def _scalars(measured: Measured) -> dict[str, Any]:
    left_out = {"correct_test", "latency", "weights_sha256"}
    scalars = measured.model_dump(exclude=left_out)
    for row in measured.latency:
        scalars[f"latency_ms_b{row.batch}"] = row.median_seconds * 1e3
    return scalars


def run_name(method: str, target: str, seed: int) -> str:
    """What a run is called in W&B's lists."""
    return f"{method} {target} seed {seed}"


def run_tags(record: Record) -> list[str]:
    """Track, kind, status, role and version, for filters."""
    version = record.manifest.get("version")
    tags = [record.track, record.kind, record.status, *(["control"] if record.control else [])]
    return [tag[:64] for tag in (*tags, *([f"bench {version}"] if isinstance(version, str) else []))]


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """One level: `{"a": {"b": 1}}` as `{"a.b": 1}`; what is nested deeper, and lists, as JSON text."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        inner = {f"{key}.{name}": each for name, each in value.items()} if isinstance(value, dict) else {key: value}
        for name, each in inner.items():
            flat[name] = json.dumps(each) if isinstance(each, dict | list | tuple) else each
    return {name: each for name, each in flat.items() if each is not None}


def record_digest(record: Record) -> str:
    """SHA-256 over a record's JSON: whether what was published is what is there now."""
    return hashlib.sha256(record.to_json().encode()).hexdigest()
