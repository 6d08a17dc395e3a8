"""What follows from a record alone: each check works a part of it out again and refuses what does not agree.

A check returns a word on what it saw, raises `Refused` with the field, its value and what it must be, or `Doubtful`
where this version has nothing to hold it against.
"""

import base64
import binascii
import re
import shlex
from collections.abc import Callable, Mapping
from itertools import pairwise
from math import isclose
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.checks.record.rebuild import groups_of
from bench.checks.record.submission import Doubtful, Refused, Submission
from bench.errors import UsageError
from bench.records.record import Layer, results_sha256
from bench.runner.dense import dense_key
from bench.runner.record_builder import budget_amount, ratios_of, status_of
from bench.specs.budget import FORWARD, TRAINING
from bench.specs.changes import flat
from bench.specs.code import source_sha256
from bench.specs.toml_file import describe
from bench.specs.track import deciding_fields

__all__ = ["CHECKS"]

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SECONDS = 1e-6  # of rounding, where seconds add up


def _status(it: Submission) -> str:
    record = it.record
    if record.status != "ok" or record.error is not None:
        raise Refused(
            f"status is {record.status!r}: only `ok` is ranked. {(record.error or '').strip()[-200:]}".strip()
        )
    for name in ("dense", "pruned", "ratios", "layers", "curve", "ledger"):
        if not getattr(record, name):
            raise Refused(f"{name} is missing, and status is 'ok'")
    return "ok"


def _method(it: Submission) -> str:
    record = it.record
    if it.wanted not in ("all", record.method):
        raise Refused(f"method is {record.method!r}, not {it.wanted!r}")
    for name in ("kind", "control"):
        _equal(name, getattr(record, name), getattr(it.method, name))
    try:
        config = it.method.Config.model_validate(record.config).model_dump(mode="json")
    except ValidationError as error:
        if record.schema_version == 1:
            raise Doubtful(f"config is of an earlier version of {record.method}: {describe(error)}") from None
        raise Refused(f"config: {describe(error)}") from None
    if record.schema_version == 1 and record.config != config:
        raise Doubtful(f"config is of an earlier version of {record.method}")
    _equal("config", record.config, config)
    if record.schema_version == 1:
        return "settings hold; its source was hashed otherwise then"
    same = source_sha256(it.method.__module__) == record.manifest.get("method_sha256")
    return "settings hold" + ("" if same else "; its source has changed since")


def _run_id(it: Submission) -> str:
    record = it.record
    _equal("run_id", record.run_id, it.run_id)
    more = "network, images, " if record.schema_version > 1 else ""
    if it.path.name == "record.json" and it.path.resolve().parent.name != record.run_id:
        raise Refused(f"run_id is {record.run_id}, and the folder is {it.path.resolve().parent.name}. Name it after it")
    return f"the hash over method, {more}settings, track, target, seed and device"


def _manifest(it: Submission) -> str:
    manifest, track = it.record.manifest, it.track
    _equal("track", it.record.track, track.name)
    _equal("manifest.threads", manifest.get("threads"), track.threads)
    _equal("manifest.precision", manifest.get("precision"), it.spec.precision)
    _equal("manifest.dense_sha256", manifest.get("dense_sha256"), it.dense.weights_sha256)
    if (manifest.get("device") == "cpu") != (manifest.get("device_class") == "cpu"):
        raise Refused(f"manifest.device is {manifest.get('device')!r}, device_class {manifest.get('device_class')!r}")
    hashes = {"method_sha256": manifest.get("method_sha256"), "data_fingerprint": manifest.get("data_fingerprint")}
    if it.record.schema_version > 1:
        hashes |= {name: manifest.get(name) for name in ("network_sha256", "data_sha256")}
        _equal("manifest.dense_key", manifest.get("dense_key"), dense_key(it.spec))
    hashes |= {"dense.weights_sha256": it.dense.weights_sha256, "pruned.weights_sha256": it.pruned.weights_sha256}
    for name, value in hashes.items():
        if not (isinstance(value, str) and _SHA256.fullmatch(value)):
            raise Refused(f"{name} is {value!r}, which is no SHA-256")
    for name in ("version", "git_commit", "python"):
        if not isinstance(manifest.get(name), str):
            raise Refused(f"manifest.{name} is {manifest.get(name)!r}: run it from a checkout under git")
    return f"{manifest['version']} at {manifest['git_commit'][:12]}" + (
        ", with changes that were not committed" if manifest.get("git_dirty") else ""
    )


def _results(it: Submission) -> str:
    if it.record.schema_version == 1:
        return "schema 1 has no hash over them"
    _equal("results_sha256", it.record.results_sha256, results_sha256(it.record))
    return f"as they were written, {str(it.record.results_sha256)[:12]}"


def _command(it: Submission) -> str:
    from bench.checks.record.command import jobs_of

    command = it.record.manifest.get("command")
    if not isinstance(command, str):
        raise Refused("manifest.command is missing")
    try:
        words = shlex.split(command)
        tracks = [words[place + 1] for place, word in enumerate(words[:-1]) if word in ("--track", "--claim")]
        if away := [name for name in tracks if name.endswith(".toml") and not Path(name).is_file()]:
            raise Doubtful(f"{away[0]} is not here")
        jobs = jobs_of(words, it.spec.device)
    except (UsageError, ValueError) as error:
        raise Refused(f"manifest.command {command!r} cannot be run: {error}") from None
    if len(jobs) != 1:
        raise Refused(f"manifest.command {command!r} makes {len(jobs)} runs, and a record is one")
    meant, said = jobs[0].spec, it.spec
    for name in ("method", "config", "target", "seed", "unit"):
        if name == "config" and it.record.schema_version == 1 and set(meant.config) != set(said.config):
            raise Doubtful(f"{said.method} has other settings since: {', '.join({*meant.config} ^ {*said.config})}")
        if getattr(meant, name) != getattr(said, name):
            raise Refused(
                f"manifest.command gives {name} {getattr(meant, name)}, and the record says {getattr(said, name)}"
            )
    if meant.track.name != said.track.name:
        raise Refused(f"manifest.command runs on track {meant.track.name}, and the record is of {said.track.name}")
    old, new = (flat(deciding_fields(track.model_dump(mode="json"))) for track in (said.track, meant.track))
    if changed := [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]:
        fields = ", ".join(changed)
        return f"the same run, but the track's file says otherwise today ({fields}): it is not compared with newer runs"
    return "gives the same run"


def _data(it: Submission) -> str:
    known, found = it.known, it.record.manifest.get("data_fingerprint")
    if known is None and it.track.images is not None:
        raise Doubtful("the images are a user's own, and are not here or others by now")
    if known is None:
        raise Doubtful(f"the fingerprint of {it.track.dataset} with this validation split is not known here")
    _equal("manifest.data_fingerprint", found, known.fingerprint)
    return f"{it.track.dataset}, {str(found)[:12]}"


def _accuracy(it: Submission) -> str:
    validation = it.track.validation.images
    for name, measured in (("dense", it.dense), ("pruned", it.pruned)):
        try:
            bits = base64.b64decode(measured.correct_test, validate=True)
        except (binascii.Error, ValueError):
            raise Refused(f"{name}.correct_test is not base64") from None
        right = int.from_bytes(bits).bit_count()
        if it.known is None:  # so many bytes are of 1 to 8 numbers of images
            counts = range(max(1, 8 * len(bits) - 7), 8 * len(bits) + 1)
            if not any(isclose(measured.top1_test, right / count, abs_tol=1e-12) for count in counts):
                raise Refused(f"{name}.top1_test is {measured.top1_test}, and correct_test has {right} right")
        else:
            images = it.known.test
            if len(bits) != (images + 7) // 8 or int.from_bytes(bits) & ((1 << (8 * len(bits) - images)) - 1):
                raise Refused(f"{name}.correct_test holds {8 * len(bits)} bits for {images} test images")
            _close(f"{name}.top1_test", measured.top1_test, right / images)
        for key, count in (("top1_val", validation), ("top5_val", validation)):
            value = getattr(measured, key)
            if value is not None and not isclose(value * count, round(value * count), abs_tol=1e-6):
                raise Refused(f"{name}.{key} is {value}, which is no share of {count} images")
        for part in ("val", "test"):
            top1, top5 = getattr(measured, f"top1_{part}"), getattr(measured, f"top5_{part}")
            if top5 is not None and top5 < top1:
                raise Refused(f"{name}.top5_{part} is {top5}, below top1_{part}, {top1}")
    return f"{it.dense.top1_test:.4f} and {it.pruned.top1_test:.4f}, from the bits of each image"


def _sizes(it: Submission) -> str:
    for name, measured, built in (("dense", it.dense, it.built_dense), ("pruned", it.pruned, it.built)):
        keys = ("macs", "macs_convolutions", "params", "weights", "bytes")
        for key in (*keys, "peak_bytes") if it.spec.device == "cpu" else keys:
            if getattr(measured, key) is not None:  # older records lack some
                _equal(f"{name}.{key}", getattr(measured, key), getattr(built, key))
        _bounded(f"{name}.nonzero", measured.nonzero, 0, measured.params)
        if measured.weights_nonzero is not None and measured.weights is not None:
            biases = measured.params - measured.weights
            _bounded(f"{name}.weights_nonzero", measured.weights_nonzero, measured.nonzero - biases, measured.weights)
            _bounded(f"{name}.weights_nonzero", measured.weights_nonzero, 0, measured.nonzero)
        batches = tuple(row.batch for row in measured.latency)
        _equal(f"{name}.latency: batches", batches, (1, it.track.latency_batch))
        if not all(row.runs and row.median_seconds for row in measured.latency):
            raise Refused(f"{name}.latency holds a time of 0, or one of no runs")
    return f"{it.pruned.macs} of {it.dense.macs} MACs, {it.pruned.params} of {it.dense.params} parameters"


def _layers(it: Submission) -> str:
    built, rows = it.built, it.record.layers
    before = {layer.name: layer.width_before for layer in it.built_dense.layers}
    low = high = it.pruned.macs
    for row, must in zip(rows, built.layers, strict=True):
        _equal(f"layers.{row.name}.width_before", row.width_before, before[row.name])
        _equal(f"layers.{row.name}.params", row.params, must.params)
        _equal(f"layers.{row.name}.macs", row.macs, must.macs)
        _bounded(f"layers.{row.name}.nonzero", row.nonzero, 0, row.params)
        least, most = _zeros(row, built.weights_by_layer[row.name])
        low -= row.macs * most // built.weights_by_layer[row.name]
        high -= row.macs * least // built.weights_by_layer[row.name]
    others = it.pruned.params - sum(row.params for row in rows)  # normalisation
    counted = sum(row.nonzero for row in rows)
    _bounded("pruned.nonzero", it.pruned.nonzero, counted, counted + others)
    _bounded("pruned.macs_nonzero", it.pruned.macs_nonzero, low, high)
    _bounded("dense.macs_nonzero", it.dense.macs_nonzero, 0, it.dense.macs)
    if it.dense.nonzero == it.dense.params:
        _equal("dense.macs_nonzero", it.dense.macs_nonzero, it.dense.macs)
    narrowed = sum(row.width_after < row.width_before for row in rows)
    return f"{narrowed} of {len(rows)} are narrower"


def _zeros(row: Layer, weights: int) -> tuple[int, int]:
    """The least and the most of a layer's weights that can be zero, when its biases may be too."""
    zeros, biases = row.params - row.nonzero, row.params - weights
    return max(0, zeros - biases), min(zeros, weights)


def _ratios(it: Submission) -> str:
    assert it.record.ratios is not None
    structured = it.record.kind == "structured" and it.spec.target.measure != "none"
    prunable = {name for group in groups_of(it.design) for name in group.layers} if structured else set()
    must = ratios_of(it.dense, it.pruned, it.record.layers, prunable)
    for name, value in it.record.ratios.model_dump(exclude_none=True).items():
        _close(f"ratios.{name}", value, getattr(must, name))
    return f"{must.macs:.4f} of the MACs, compression {must.compression:.2f}"


def _target(it: Submission) -> str:
    assert it.record.ratios is not None
    _equal("status", it.record.status, status_of(it.spec, it.method, it.dense, it.pruned, it.record.ratios))
    if (it.spec.target.measure == "none") != (it.method.targets == "none"):
        raise Refused(f"target is {it.record.target}, and {it.record.method} has targets = {it.method.targets!r}")
    return f"{it.record.target} is met, the dense network is above the floor of {it.track.floor:g}"


def _budget(it: Submission) -> str:
    budget = it.record.budget
    _equal("budget.amount", budget.amount, budget_amount(it.spec))
    image = TRAINING * it.dense.macs
    if it.known is not None:
        _equal("budget.dense_epoch_macs", budget.dense_epoch_macs, image * it.known.train)
    elif not budget.dense_epoch_macs or budget.dense_epoch_macs % image:
        raise Refused(f"budget.dense_epoch_macs is {budget.dense_epoch_macs}, no multiple of {image} an image")
    return f"{budget.amount:g} {budget.unit}"


def _ledger(it: Submission) -> str:
    record, ledger = it.record, it.record.ledger
    phases = {name: spent for name, spent in ledger.items() if name != "total"}
    if set(phases) != {"dense", "prune", "search", "finetune"} or "total" not in ledger:
        raise Refused(f"ledger has {', '.join(ledger)}; each phase and total are needed")
    for name in ("steps", "images_forward", "images_trained", "macs"):
        _equal(f"ledger.total.{name}", getattr(ledger["total"], name), sum(getattr(p, name) for p in phases.values()))
    seconds = sum(spent.device_seconds for spent in phases.values())
    _close("ledger.total.device_seconds", ledger["total"].device_seconds, seconds, _SECONDS)
    for name, spent in phases.items():
        images = TRAINING * spent.images_trained + FORWARD * spent.images_forward
        _bounded(f"ledger.{name}.macs", spent.macs, images * it.pruned.macs, images * it.dense.macs)
        stepless = spent.images_trained > 0 and name != "search"  # a search may take gradients without a step
        if (spent.steps == 0 and stepless) or spent.steps > spent.images_trained:
            raise Refused(f"ledger.{name}: {spent.steps} steps over {spent.images_trained} images")
    epoch, batch = record.budget.dense_epoch_macs, max(it.track.finetune.batch_size, it.track.dense.batch_size)
    step = TRAINING * batch * it.dense.macs
    trained = it.method.starts == "trained"
    dense = (it.track.dense.epochs or 0.0) * epoch if trained else 0.0
    _bounded("ledger.dense.macs", phases["dense"].macs, dense - step * trained, dense + step * trained)
    per_step = it.track.dense.batch_size * phases["dense"].steps
    _bounded("ledger.dense.images_trained", phases["dense"].images_trained, 0, per_step)
    amount = record.budget.amount
    if record.budget.unit == "dense_epochs":
        _bounded("ledger.total.macs", ledger["total"].macs, 0, amount * epoch + step)
        searching = it.track.budget.search_share * (amount * epoch - phases["dense"].macs)
        _bounded("ledger.search.macs", phases["search"].macs, 0, searching + step)
        return f"{record.spent:.4g} of {amount:g} dense epochs"
    slack = 1.0 + seconds / max(1, ledger["total"].steps)
    _bounded("ledger.total.device_seconds", seconds, 0, amount + slack)
    return f"{seconds:.4g} of {amount:g} device seconds"


def _curve(it: Submission) -> str:
    points, spent = it.record.curve, it.record.spent
    assert spent is not None
    for before, after in pairwise(points):
        if after.spent < before.spent - 1e-9:
            raise Refused(f"curve: spent falls from {before.spent:g} to {after.spent:g}")
    if points[-1].spent > spent * (1 + 1e-9) + _SECONDS:
        raise Refused(f"curve ends at {points[-1].spent:g} spent, and the ledger at {spent:g}")
    for point in points:
        for name, value in point.values.items():
            if name.startswith("top") and value is not None:
                _bounded(f"curve.{name}", value, 0, 1)
        macs = point.values.get("macs")
        if macs is not None:
            _bounded("curve.macs", macs, it.pruned.macs, it.dense.macs)
    _every_epoch(it)
    for name, measured, phases in (
        ("dense", it.dense, ("dense",)),
        ("pruned", it.pruned, ("dense", "prune", "finetune")),
    ):
        ends = [point.values.get("top1_val") for point in points if point.phase in phases]
        last = next((value for value in reversed(ends) if value is not None), None)
        if last is not None:
            _close(f"{name}.top1_val beside the curve's last point", measured.top1_val, last)
    return f"{len(points)} points"


def _every_epoch(it: Submission) -> None:
    """A training leaves a point at every epoch's end."""
    if it.known is None:
        return
    for phase, spent in it.record.ledger.items():
        if phase in ("dense", "prune", "finetune"):
            epochs = int(spent.images_trained / it.known.train + 1e-9)
            points = sum(point.phase == phase for point in it.record.curve)
            if points < epochs:
                raise Refused(f"curve has {points} points of {phase}, whose {epochs} epochs leave one each")


CHECKS: Mapping[str, Callable[[Submission], str]] = {
    "status": _status,
    "method": _method,
    "run id": _run_id,
    "manifest": _manifest,
    "results": _results,
    "command": _command,
    "data": _data,
    "accuracy": _accuracy,
    "sizes": _sizes,
    "layers": _layers,
    "ratios": _ratios,
    "target": _target,
    "budget": _budget,
    "ledger": _ledger,
    "curve": _curve,
}


def _equal(name: str, found: Any, must: Any) -> None:
    if found != must:
        raise Refused(f"{name} is {_short(found)}, and must be {_short(must)}")


def _close(name: str, found: float, must: float, tolerance: float = 0.0) -> None:
    if not isclose(found, must, rel_tol=1e-9, abs_tol=tolerance or 1e-12):
        raise Refused(f"{name} is {found!r}, and must be {must!r}")


def _bounded(name: str, found: float, low: float, high: float) -> None:
    if not low <= found <= high:
        raise Refused(f"{name} is {found:g}, and must lie in [{low:g}, {high:g}]")


def _short(value: Any) -> str:
    return repr(value) if len(repr(value)) <= 160 else repr(value)[:157] + "..."
