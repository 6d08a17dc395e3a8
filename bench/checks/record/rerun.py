"""Is a record true? Run its spec again, or measure its stored network again, and compare.

On the same kind of CPU, with the same libraries and threads, everything but time must be bitwise equal. Elsewhere sizes
must be equal and accuracies equal within three standard errors of the difference of two runs on the test split; which
of the two applied is said. A stored network that is measured again is one network: two images may come out otherwise.
"""

import base64
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ValidationError
from torch import nn

from bench.errors import StoreError, UsageError
from bench.measure.latency import Latency
from bench.measure.network import measure, tensors_sha256
from bench.networks.base import NetworkSpec
from bench.networks.registry import network as network_named
from bench.records.hardware import BITS, device_class, machine
from bench.records.record import Measured, Record
from bench.records.store import Store
from bench.runner.inputs import InputsOf, TrackInputs, with_inputs
from bench.runner.jobs import Job
from bench.runner.run import Workplace, execute
from bench.specs.changes import changed_inputs, inputs_of
from bench.specs.run import PROTOCOL, RunSpec
from bench.specs.target import Target
from bench.specs.toml_file import describe
from bench.specs.track import Track
from bench.surgery import load_tensors_into, read_network
from bench.trial.methods import method_class

__all__ = ["RerunResult", "load_pruned", "measure_again", "run_again", "spec_of"]

_STANDARD_ERRORS = 3.0
_OTHER = "what it is made from is not what it was"
_IMAGES = 2
"""Test images that may come out otherwise where a stored network is measured on another kind of processor."""


@dataclass(frozen=True)
class RerunResult:
    """What came of a verification.

    Attributes:
        equal: whether the record holds.
        how: `bitwise`, or `within tolerance` with the reason why bitwise is not asked for.
        first: where the first difference lies, and the two values; None where there is none.
        changed: what a run is made from and is not what it was: `network source (mine.blocks)`, `images`, ...
    """

    equal: bool
    how: str
    first: str | None = None
    changed: tuple[str, ...] = ()

    def words(self) -> str:
        """One sentence for people."""
        changed = f" Changed since the record: {', '.join(self.changed)}." if self.changed else ""
        if self.equal:
            return f"equal ({self.how}){changed and '.' + changed}"
        return f"different ({self.how}): {self.first}{changed and '.' + changed}"


def spec_of(record: Record, inputs: InputsOf) -> RunSpec:
    """The spec that a record says it was made from, with code, weights and images as they are now.

    A record of a GPU that is not here gives a spec for the CPU.

    Raises:
        UsageError: method or network are not installed, or a setting or a field of the track does not exist any more.
        DataError: the images are not here.
    """
    method = method_class(record.method)
    try:
        method.Config.model_validate(record.config)
    except ValidationError as error:
        raise UsageError(f"record {record.run_id}: settings of {record.method}: {describe(error)}") from None
    spec = _spec(record)
    return with_inputs(spec, method, inputs(spec.track, spec.device))


def _spec(record: Record, root: Path | None = None) -> RunSpec:
    """The same with nothing but what the record says, or with files of one's own in `root`."""
    try:
        track = Track.model_validate(record.track_fields)
    except ValidationError as error:
        raise UsageError(f"record {record.run_id}: its track: {describe(error)}") from None
    if isinstance(folder := root or record.manifest.get("track_folder"), str | Path):
        track = track.model_copy(update={"root": Path(folder)})
    device: Literal["cpu", "cuda"] = (
        "cuda" if record.manifest.get("device") == "cuda" and torch.cuda.is_available() else "cpu"
    )
    return RunSpec(
        method=record.method,
        config=record.config,
        method_sha256=str(record.manifest.get("method_sha256")),
        track=track,
        unit=record.budget.unit,
        target=Target.parse(record.target),
        seed=record.seed,
        device=device,
        device_class=device_class(device),
    )


def run_again(record: Record, data_folder: Path, report: Callable[[str, float], None]) -> RerunResult:
    """Runs a record's spec in a store of its own and compares, from the data to the network.

    Raises:
        UsageError: the record has no result to compare, or cannot be run here.
    """
    if record.dense is None or record.pruned is None:
        raise UsageError(f"record {record.run_id} is {record.status} and holds no network to compare.")
    with tempfile.TemporaryDirectory(prefix="bench-verify-") as folder:
        workplace = Workplace(Store(Path(folder)), data_folder)
        spec = spec_of(record, workplace.inputs)
        inputs = tuple(changed_inputs(record.manifest, inputs_of(spec)))
        if any(not each.startswith(("method source", "harness")) for each in inputs):
            return RerunResult(False, "it was not run again", _OTHER, inputs)
        job = Job(spec, str(record.manifest.get("command", "")), method_class(spec.method).observers)
        again = execute(job, workplace, report)
    changed = _machine(record, spec) or _run(record, spec) or _dense(record, again)
    if again.dense is None or again.pruned is None:
        why = f"now the run is {again.status}: {(again.error or '')[-300:]}"
        return RerunResult(False, changed or "bitwise", why, inputs)
    differences = _bitwise(record, again) if not changed else _tolerant(record, again)
    first = next(differences, None)
    if record.schema_version > 1 and record.run_id != spec.run_id and not changed:
        identity = f"run_id: the record says {record.run_id}, but its method, settings, track, target and seed give "
        first = f"{identity}{spec.run_id}" + (f"; then {first}" if first else "")
    return RerunResult(first is None, f"within tolerance, since {changed}" if changed else "bitwise", first, inputs)


def measure_again(record: Record, network: Path, data_folder: Path, root: Path | None = None) -> RerunResult:
    """Loads the stored network of a record, without the plugin that made it, and measures it.

    Args:
        record: says what is to come out.
        network: its file.
        data_folder: for the images.
        root: the folder that a network and images of one's own lie in; None for the one that the record names.

    Raises:
        UsageError: there is no network, or it is damaged.
    """
    if record.pruned is None:
        raise UsageError(f"record {record.run_id} is {record.status} and holds no network to measure.")
    spec, workplace = _spec(record, root), Workplace(Store(network.parent), data_folder)
    data, now = workplace.data(spec), workplace.inputs(spec.track, spec.device)
    inputs = tuple(changed_inputs(record.manifest, _measured_inputs(now), method=False))
    if any(not each.startswith("harness") for each in inputs):
        return RerunResult(False, "it was not measured", _OTHER, inputs)
    wanted = {"network": spec.track.network, "shape": list(data.shape), "classes": data.classes}
    found, sha256 = load_pruned(network, wanted, spec.track.root)
    if sha256 != record.pruned.weights_sha256:
        return RerunResult(
            False, "bitwise", f"weights: the stored network is {sha256}, the record says {record.pruned.weights_sha256}"
        )
    found = found.to(data.device)
    latency: tuple[Latency, ...] = ()
    again = measure(found, data, spec.precision, spec.track.latency_batch, latency, data.classes)
    changed = _machine(record, spec)
    first = next(_sizes("pruned", record.pruned, again), None)
    if changed and first is None:
        made_on_gpu = record.manifest.get("device") != "cpu"
        first = next(_same_images("pruned", record.pruned, again, made_on_gpu), None)
    if not changed and first is None:
        first = next(_accuracies("pruned", record.pruned, again, exact=True), None)
    return RerunResult(first is None, f"within tolerance, since {changed}" if changed else "bitwise", first)


def load_pruned(path: Path, wanted: Mapping[str, Any] | None = None, root: Path | None = None) -> tuple[nn.Module, str]:
    """The network in a file of the store, in evaluation mode, and its hash; no plugin of a method is needed.

    Args:
        path: the file.
        wanted: what its description must say, by key; None where nothing is known of it.
        root: the folder that the path of a network of one's own begins in.

    Raises:
        StoreError: the file is missing or damaged, or describes another network than is wanted.
        SurgeryError: its tensors do not belong to the network that it describes.
    """
    description, tensors = read_network(path)
    try:
        described = {key: description[key] for key in wanted or {}}
        if described != (wanted or {}):
            raise StoreError(f"{path} describes {described}, and the record is of {dict(wanted or {})}.")
        spec = NetworkSpec.of(description["shape"], int(description["classes"]))
        plugin = network_named(str(description["network"]), description.get("settings"), root)
        with torch.random.fork_rng(devices=[]):
            network = plugin.construct(spec)
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path}: its description is not readable ({type(error).__name__}: {error}).") from None
    load_tensors_into(network, tensors)
    network = network.to(memory_format=torch.channels_last).eval()
    return network, tensors_sha256(network.state_dict())


def _machine(record: Record, spec: RunSpec) -> str | None:
    """What is another machine here than the record's, so that bits may differ; None where nothing is."""
    if spec.device != "cpu" or record.manifest.get("device") != "cpu":
        return "it ran on a GPU"
    then, now = machine(record.manifest), machine()
    if record.schema_version == 1:  # which said less of it
        now = {name: value for name, value in now.items() if name in then}
    for key in dict.fromkeys((*BITS, *sorted({*then, *now}))):
        if then.get(key) != now.get(key):
            return f"{key} was {str(then.get(key))[:100]!r} and is {now.get(key)!r} here"
    version = _fields(record, "libraries").get("torch")
    if version not in (torch.__version__, torch.__version__.partition("+")[0]):
        return f"torch was {str(version)[:100]} and is {torch.__version__} here"
    return None


def _run(record: Record, spec: RunSpec) -> str | None:
    """Why a second run may differ from the first one on the same machine; None where it may not."""
    if record.budget.unit == "device_seconds":
        return "its budget is one of time"
    if record.schema_version == 1:
        return "it is of schema 1, which does not say what source its network had"
    if record.manifest.get("method_sha256") != spec.method_sha256:
        return "the method's source has changed since"
    if record.manifest.get("protocol") != spec.protocol:
        return "the harness has changed since"
    return None


def _dense(record: Record, again: Record) -> str | None:
    """Whether the two began with dense networks that were trained on different machines; None where they did not."""
    then, now = (each.manifest.get("dense_machines") for each in (record, again))
    if then == now or record.manifest.get("dense_sha256") == again.manifest.get("dense_sha256"):
        return None
    return "its dense network was trained on another machine, and is not committed"


def _measured_inputs(now: TrackInputs) -> dict[str, Any]:
    """What a stored network's accuracy depends on, as `changed_inputs` takes it; given weights are trained over."""
    return {
        "protocol": PROTOCOL,
        "network_sha256": now.network.source.sha256,
        "data_sha256": now.data_sha256,
        "data_fingerprint": now.data_fingerprint,
        "sources": {"network": now.network.source.lines()},
    }


def _fields(record: Record, name: str) -> dict[str, Any]:
    found = record.manifest.get(name)
    return found if isinstance(found, dict) else {}


def _bitwise(then: Record, now: Record) -> Iterator[str]:
    assert then.dense and now.dense and then.pruned and now.pruned
    yield from _same("data", then.manifest.get("data_fingerprint"), now.manifest.get("data_fingerprint"))
    for number, (before, after) in enumerate(zip(then.curve, now.curve, strict=False)):
        yield from _same(f"curve, point {number} ({before.phase}, epoch {before.epoch:g})", before.values, after.values)
    yield from _same("points of the curve", len(then.curve), len(now.curve))
    yield from _same("dense network", then.dense.weights_sha256, now.dense.weights_sha256)
    yield from _sizes("dense", then.dense, now.dense)
    widths = [{layer.name: layer.width_after for layer in each.layers} for each in (then, now)]
    yield from _same("widths", *widths)
    yield from _same("pruned network", then.pruned.weights_sha256, now.pruned.weights_sha256)
    yield from _sizes("pruned", then.pruned, now.pruned)
    for name, old, new in (("dense", then.dense, now.dense), ("pruned", then.pruned, now.pruned)):
        yield from _accuracies(name, old, new, exact=True)
    yield from _same("status", then.status, now.status)
    yield from _same("budget", then.budget, now.budget)
    for phase, spent in then.ledger.items():
        again = now.ledger.get(phase)
        counts = [s.model_dump(exclude={"device_seconds"}) if s else None for s in (spent, again)]
        yield from _same(f"ledger, {phase}", *counts)
    yield from _same("ratios", *_known_ratios(then, now))


def _known_ratios(then: Record, now: Record) -> tuple[dict[str, Any], dict[str, Any]]:
    """The ratios that the older record has: later versions added some."""
    known = then.ratios.model_dump(exclude_none=True) if then.ratios else {}
    again = now.ratios.model_dump() if now.ratios else {}
    return known, {name: again.get(name) for name in known}


def _tolerant(then: Record, now: Record) -> Iterator[str]:
    assert then.dense and now.dense and then.pruned and now.pruned
    yield from _same("data", then.manifest.get("data_fingerprint"), now.manifest.get("data_fingerprint"))
    yield from _same("dense MACs", then.dense.macs, now.dense.macs)
    tolerance = now.track_fields["tolerance"]
    if abs(now.pruned.macs - then.pruned.macs) > 2 * tolerance * then.pruned.macs:
        yield f"pruned MACs: {then.pruned.macs} in the record, {now.pruned.macs} now, more than the track's tolerance"
    for name, old, new in (("dense", then.dense, now.dense), ("pruned", then.pruned, now.pruned)):
        yield from _accuracies(name, old, new, exact=False)


def _sizes(name: str, then: Measured, now: Measured) -> Iterator[str]:
    for key in ("macs", "macs_nonzero", "params", "nonzero", "bytes", "peak_bytes"):
        yield from _same(f"{name} {key}", getattr(then, key), getattr(now, key))


def _accuracies(name: str, then: Measured, now: Measured, exact: bool) -> Iterator[str]:
    if exact:
        for key in ("top1_val", "top1_test", "top5_val", "top5_test", "correct_test"):
            yield from _same(f"{name} {key}", getattr(then, key), getattr(now, key))
        return
    images = 8 * len(then.correct_test) * 3 // 4  # base64 of packed bits
    rate = (then.top1_test + now.top1_test) / 2
    allowed = _STANDARD_ERRORS * sqrt(2 * max(rate * (1 - rate), 1 / max(images, 1)) / max(images, 1))
    if abs(then.top1_test - now.top1_test) > allowed:
        yield (
            f"{name} top1_test: {then.top1_test:.4f} in the record, {now.top1_test:.4f} now; {allowed:.4f} is allowed "
            f"({_STANDARD_ERRORS:g} standard errors)"
        )


def _same_images(name: str, then: Measured, now: Measured, made_on_gpu: bool = False) -> Iterator[str]:
    """One network, measured twice: on another kind of processor the last bits of its outputs differ, and no more.

    Of 39 stored networks measured on AMD and on Intel, none of 15,600 images came out otherwise. On a GPU it may have
    been measured in half precision: two in a thousand images may differ then.
    """
    old, new = (base64.b64decode(measured.correct_test) for measured in (then, now))
    apart = (int.from_bytes(old) ^ int.from_bytes(new)).bit_count() if len(old) == len(new) else 8 * len(new)
    allowed = max(_IMAGES, 8 * len(old) // 500) if made_on_gpu else _IMAGES
    if apart > allowed:
        yield (
            f"{name} correct_test: {apart} images come out otherwise (top1_test {then.top1_test:.4f} in the record, "
            f"{now.top1_test:.4f} now); {allowed} may, of one network on two kinds of processor"
        )
    if abs(then.top1_test - now.top1_test) > (allowed + 0.5) / max(8 * len(old) - 7, 1):
        yield f"{name} top1_test: {then.top1_test:.4f} in the record, {now.top1_test:.4f} now"


def _same(where: str, then: Any, now: Any) -> Iterator[str]:
    if then != now:
        yield f"{where}: {str(then)[:120]} in the record, {str(now)[:120]} now"
