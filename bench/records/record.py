"""One run's result: JSON, schema-versioned, complete enough to run again.

A record is written once, whole, at the end of a run, whatever its end was. Everything else (the page, W&B, the
comparison) is made from records alone. Records of schema 1 are read as what they are: fields that schema 2 added are
None there, and are not written when such a record is printed.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from bench.errors import StoreError
from bench.records.reading import cleaned, is_clean
from bench.records.text import plain
from bench.specs.digest import digest
from bench.specs.toml_file import describe

__all__ = [
    "SCHEMA",
    "UNFINISHED",
    "LatencyRow",
    "Layer",
    "Measured",
    "Point",
    "Record",
    "Search",
    "Status",
    "parse_record",
    "results_sha256",
    "rewards_of",
]

SCHEMA: Literal[2] = 2
_READABLE = (1, SCHEMA)
_SINCE_2: Any = {
    **dict.fromkeys(("search", "tries", "wall_seconds", "results_sha256"), True),
    **{name: {"log_loss_test"} for name in ("dense", "pruned")},
}
_RESULTS = {
    *("status", "dense", "pruned", "ratios", "layers", "left_out", "budget", "ledger", "curve", "search"),
}

Status = Literal["ok", "missed-target", "undertrained", "failed", "invalid", "timed-out", "out-of-memory"]
UNFINISHED: tuple[Status, ...] = ("failed", "timed-out", "out-of-memory")
"""What `--retry-failed` runs again."""

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
Seconds = Annotated[float, Field(ge=0, le=1e12)]
Ratio = Annotated[float, Field(ge=0, le=1e12)]
Text = Annotated[str, Field(max_length=20_000)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._=:,+-]*$", max_length=200)]

ERROR_LENGTH = 200_000


LARGEST = 1e39
"""Beyond float32, nothing that was measured; a plot that squares it still fits into a float."""


def _printable(text: Any) -> Any:
    """The end of an error's text, which says most, with what acts on a terminal escaped."""
    return plain(text[-ERROR_LENGTH:])[-ERROR_LENGTH:] if isinstance(text, str) else text


def _short_command(manifest: dict[str, Any]) -> dict[str, Any]:
    if len(str(manifest.get("command", ""))) > 20_000:
        raise ValueError("its command has more than 20,000 characters")
    return manifest


Scalar = Annotated[float, Field(ge=-LARGEST, le=LARGEST)] | None
Key = Annotated[str, Field(max_length=1000)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LatencyRow(_Part):
    """Time of one forward pass at one batch size, in inference mode after warm-up."""

    batch: Count
    median_seconds: Seconds
    iqr_seconds: Seconds
    runs: Count


class Measured(_Part):
    """A network, measured.

    Attributes:
        top1_val, top1_test: top-1 accuracy as fractions; test is looked at once, here.
        top5_val, top5_test: top-5, where there are more than ten classes.
        loss_val: mean cross-entropy on validation, in nats; None where it is not finite.
        log_loss_test: the same on test; None in records of schema 1, too.
        correct_test: per-image correct bits of the test split, base64 of packed bits.
        macs: multiply-accumulates of one image forward.
        macs_nonzero: the same, counting nonzero weights only.
        macs_convolutions: those of convolutions alone, as some papers count; None in records without this count.
        params, nonzero: parameters, and those that are not zero.
        weights, weights_nonzero: the same without biases and normalisation; None in records that have no such count.
        bytes: size of the stored tensors.
        peak_bytes: peak memory of one inference batch of the track's latency batch, weights included.
        latency: at batch 1 and the track's larger batch, dense and pruned network timed in turns in one process.
        weights_sha256: over names, shapes and values of all tensors.
    """

    top1_val: Fraction
    top1_test: Fraction
    top5_val: Fraction | None = None
    top5_test: Fraction | None = None
    loss_val: Scalar = None
    log_loss_test: Scalar = None
    correct_test: str
    macs: Count
    macs_nonzero: Count
    macs_convolutions: Count | None = None
    params: Count
    nonzero: Count
    weights: Count | None = None
    weights_nonzero: Count | None = None
    bytes: Count
    peak_bytes: Count
    latency: tuple[LatencyRow, ...]
    weights_sha256: str


class Ratios(_Part):
    """The pruned network against the dense one.

    Attributes:
        macs, params: share that is kept.
        compression: dense parameters / nonzero pruned parameters, biases included.
        compression_weights: the same without biases and normalisation, as some papers count.
        filters_removed: share of all prunable channels that is gone.
        filters_removed_by_layer: mean over the prunable layers of the share of each that is gone.
    """

    macs: Ratio
    params: Ratio
    compression: Ratio
    compression_weights: Ratio | None = None
    filters_removed: Fraction
    filters_removed_by_layer: Fraction | None = None


class Layer(_Part):
    """One layer's output width before and after, and its nonzero parameters after."""

    name: Text
    width_before: Count
    width_after: Count
    params: Count
    nonzero: Count
    macs: Count


class Point(_Part):
    """One point of a run's curve: the end of an epoch.

    Attributes:
        phase: `dense`, `prune`, `finetune`, or `search` for what a method logs between.
        epoch: epochs of training so far, in passes over the training split.
        spent: of the budget so far, in its unit.
        values: scalars by name: `train_loss`, `top1_val`, `learning_rate`, `macs`, and what the method logs.
    """

    phase: Literal["dense", "prune", "search", "finetune"]
    epoch: Ratio
    spent: Ratio
    values: Annotated[dict[Key, Scalar], Field(max_length=500)]


class Search(_Part):
    """What a search did, as the method logged it (`search/episodes`, `search/distinct`, ...).

    Attributes:
        episodes: how many networks it proposed.
        distinct: how many different ones were among them.
        winner: number of the episode whose network was kept, from 0.
        winner_in_warmup: whether that was before the agent had learnt anything.
    """

    episodes: Count
    distinct: Count | None = None
    winner: Count | None = None
    winner_in_warmup: bool | None = None


class BudgetRow(_Part):
    """The budget, one number for every row of a track.

    Attributes:
        amount: in `unit`, the dense network's training included.
        unit: which unit binds.
        dense_epoch_macs: MACs of one dense epoch, by which MACs become dense epochs; 0 where a run failed before
            its network was built.
    """

    amount: Ratio
    unit: Literal["dense_epochs", "device_seconds"]
    dense_epoch_macs: Count = 0


class Spent(_Part):
    """One phase of the ledger."""

    steps: Count
    images_forward: Count
    images_trained: Count
    macs: Count
    device_seconds: Seconds


class Record(_Part):
    """One run's result. Fields as in the JSON file.

    Attributes:
        schema_version: version of this layout (`schema` in JSON).
        run_id: hash over everything that decides the result, behind a readable prefix.
        status: `ok`, `missed-target`, `undertrained`, `failed`, `invalid`, or `timed-out` or `out-of-memory` where a
            limit ended the run; only `ok` is ranked.
        error: what went wrong, with the traceback; None for the rest.
        method, kind, control: the method's name and what it is.
        config: the method's settings, all of them.
        track, track_fields: the track's name and all its fields as they were used.
        target, seed: what was asked for.
        dense, pruned: the networks, measured; None where a failed run did not get that far.
        ratios, layers, left_out: sizes; channel groups that were not offered, with the reason.
        budget, ledger: what could be spent and what was, by phase and in `total`.
        curve: by epoch.
        search: what the method's search did; None where it has none, or says nothing of it.
        tries: how many settings of the method were tried on validation before these were kept, as the track says; None
            where nobody says.
        wall_seconds: time on the clock by phase (`dense`, `method`, `finetune`, `measure`, `total`), of the process
            that finished the run; other work on the machine counts, too.
        results_sha256: hash over the results, which are everything but what was asked for and the manifest.
        manifest: package version, git commit and dirty flag, libraries, hardware, threads, data fingerprint, dense
            checkpoint hash, the exact command.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)

    schema_version: Annotated[Literal[1, 2], Field(alias="schema")] = SCHEMA
    run_id: Name
    status: Status
    error: Annotated[str, BeforeValidator(_printable)] | None = None
    method: Name
    kind: Literal["structured", "unstructured"]
    control: bool
    config: dict[str, Any]
    track: Name
    track_fields: dict[str, Any]
    target: Name
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    dense: Measured | None = None
    pruned: Measured | None = None
    ratios: Ratios | None = None
    layers: Annotated[tuple[Layer, ...], Field(max_length=20_000)] = ()
    left_out: dict[str, str] = {}
    budget: BudgetRow
    ledger: dict[Literal["dense", "prune", "search", "finetune", "total"], Spent]
    curve: Annotated[tuple[Point, ...], Field(max_length=50_000)] = ()
    search: Search | None = None
    tries: Count | None = None
    wall_seconds: dict[Name, Seconds] = {}
    results_sha256: str | None = None
    manifest: Annotated[dict[str, Any], AfterValidator(_short_command)]

    @property
    def spent(self) -> float | None:
        """What was spent, in the budget's unit; None where a run failed before anything was charged."""
        total = self.ledger.get("total")
        if total is None:
            return None
        if self.budget.unit == "device_seconds":
            return total.device_seconds
        return total.macs / self.budget.dense_epoch_macs if self.budget.dense_epoch_macs else None

    @property
    def spent_share(self) -> float | None:
        """Share of the budget that was spent; None where that is not known, or there was no budget."""
        return None if self.spent is None or not self.budget.amount else self.spent / self.budget.amount

    def __repr__(self) -> str:
        """One line: the run, how it ended, and accuracy at what size."""
        if self.dense is None or self.pruned is None or self.ratios is None:
            return f"<{self.run_id}: {self.status}>"
        return (
            f"<{self.run_id}: {self.status}, top-1 {self.dense.top1_test:.4f} -> {self.pruned.top1_test:.4f} on test "
            f"at {self.ratios.macs:.3f} of the MACs, {self.ratios.params:.3f} of the parameters>"
        )

    def to_json(self) -> str:
        """The record as indented JSON, with a final newline."""
        left_out = _SINCE_2 if self.schema_version == 1 else None
        return self.model_dump_json(by_alias=True, indent=1, exclude=left_out) + "\n"


def rewards_of(record: Record) -> tuple[float, ...]:
    """What a search was rewarded with, episode by episode."""
    values = (point.values.get("reward") for point in record.curve if point.phase == "search")
    return tuple(reward for reward in values if reward is not None)


def results_sha256(record: Record) -> str:
    """Hash over a record's results, however the file is laid out."""
    return digest(record.model_dump(mode="json", include=_RESULTS))


def parse_record(content: bytes, source: str) -> Record:
    """A record from JSON.

    Raises:
        StoreError: not a record of this schema; the text names `source`, the field and what is wrong with it.
    """
    try:
        if not is_clean(content):
            content = _inert(content)
        record = Record.model_validate_json(content)
    except (ValidationError, RecursionError, ValueError) as error:
        other = _schema_of(content)
        if other not in _READABLE:
            raise StoreError(
                f"record {source}: schema {other}, but this version of bench reads schemas 1 and {SCHEMA}. "
                "Run it again, or read it with the version that its manifest names."
            ) from None
        why = describe(error) if isinstance(error, ValidationError) else str(error)
        raise StoreError(f"record {source}: {why}") from None
    return record


def _inert(content: bytes) -> bytes:
    """The same record with texts that act on nothing: whoever shows it need not think of it."""
    fields = json.loads(content)
    if not isinstance(fields, dict):
        return content
    error = fields.pop("error", None)
    return json.dumps({**cleaned(fields), "error": cleaned(error, lines=True)}).encode()


def _schema_of(content: bytes) -> int:
    """The schema that a record says it has; the present one where it says none that can be read."""
    try:
        fields = json.loads(content)
    except (RecursionError, ValueError):
        return SCHEMA
    found = fields.get("schema") if isinstance(fields, dict) else None
    return found if type(found) is int else SCHEMA
