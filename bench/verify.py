"""Is a record true? Run its spec again, or measure its stored network again, and compare.

On the same kind of CPU, with the same libraries and threads, everything but time must be bitwise equal. Elsewhere sizes
must be equal and accuracies equal within three standard errors of the difference of two runs on the test split; which
of the two applied is said.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

from bench.errors import StoreError, UsageError
from bench.manifest import device_class, hardware
from bench.measure.latency import Latency
from bench.measure.whole import measure, tensors_sha256
from bench.networks.base import NetworkSpec
from bench.networks.registry import network as network_plugin
from bench.plan import Job, method_class
from bench.record import Measured, Record
from bench.run import Workplace, execute
from bench.spec import RunSpec, source_sha256
from bench.store import Store
from bench.surgery import load_tensors_into, read_network
from bench.target import Target
from bench.tracks import Track

__all__ = ["Verdict", "load_pruned", "measure_again", "run_again", "spec_of"]

_STANDARD_ERRORS = 3.0


@dataclass(frozen=True)
class Verdict:
    """What came of a verification.

    Attributes:
        equal: whether the record holds.
        how: `bitwise`, or `within tolerance` with the reason why bitwise is not asked for.
        first: where the first difference lies, and the two values; None where there is none.
    """

    equal: bool
    how: str
    first: str | None = None

    def words(self) -> str:
        """One sentence for people."""
        if self.equal:
            return f"equal ({self.how})"
        return f"different ({self.how}): {self.first}"


def spec_of(record: Record) -> RunSpec:
    """The spec that a record says it was made from, with the method's source as it is now.

    Raises:
        UsageError: the method or a field of the track does not exist any more.
    """
    method = method_class(record.method)
    device = "cuda" if record.manifest.get("device") == "cuda" else "cpu"
    try:
        track = Track.model_validate(record.track_fields)
    except ValueError as error:
        raise UsageError(f"record {record.run_id}: its track is not readable any more: {error}") from None
    return RunSpec(
        method=record.method,
        config=record.config,
        method_sha256=source_sha256(method.__module__),
        track=track,
        unit=record.budget.unit,
        target=Target.parse(record.target),
        seed=record.seed,
        device=device,  # type: ignore[arg-type]
        device_class=device_class(device),
    )


def run_again(record: Record, data_folder: Path, report: Callable[[str, float], None]) -> Verdict:
    """Runs a record's spec in a store of its own and compares, from the data to the network.

    Raises:
        UsageError: the record has no result to compare, or cannot be run here.
    """
    if record.pruned is None:
        raise UsageError(f"record {record.run_id} is {record.status} and holds no network to compare.")
    spec = spec_of(record)
    with tempfile.TemporaryDirectory(prefix="bench-verify-") as folder:
        job = Job(spec, str(record.manifest.get("command", "")), method_class(spec.method).observers)
        again = execute(job, Workplace(Store(Path(folder)), data_folder), report)
    changed = _reason(record, spec)
    if again.pruned is None:
        return Verdict(False, changed or "bitwise", f"now the run is {again.status}: {(again.error or '')[-300:]}")
    differences = _bitwise(record, again) if not changed else _tolerant(record, again)
    first = next(differences, None)
    if record.run_id != spec.run_id and not changed:
        identity = f"run_id: the record says {record.run_id}, but its method, settings, track, target and seed give "
        first = f"{identity}{spec.run_id}" + (f"; then {first}" if first else "")
    return Verdict(first is None, f"within tolerance, since {changed}" if changed else "bitwise", first)


def measure_again(record: Record, network: Path, data_folder: Path) -> Verdict:
    """Loads the stored network of a record, without the plugin that made it, and measures it.

    Raises:
        UsageError: there is no network, or it is damaged.
    """
    if record.pruned is None:
        raise UsageError(f"record {record.run_id} is {record.status} and holds no network to measure.")
    spec = spec_of(record)
    found, sha256 = load_pruned(network)
    if sha256 != record.pruned.weights_sha256:
        return Verdict(
            False, "bitwise", f"weights: the stored network is {sha256}, the record says {record.pruned.weights_sha256}"
        )
    data = Workplace(Store(network.parent), data_folder).data(spec)
    latency: tuple[Latency, ...] = ()
    again = measure(found, data, spec.precision, spec.track.latency_batch, latency, data.classes)
    changed = _reason(record, spec)
    parts = _sizes if not changed else _sizes_and_tolerance
    first = next(parts("pruned", record.pruned, again), None)
    if not changed and first is None:
        first = next(_accuracies("pruned", record.pruned, again, exact=True), None)
    return Verdict(first is None, f"within tolerance, since {changed}" if changed else "bitwise", first)


def load_pruned(path: Path) -> tuple[Any, str]:
    """The network in a file of the store, in evaluation mode, and its hash; no plugin of a method is needed.

    Raises:
        UsageError: the file is missing, damaged, or describes a network that is not there.
    """
    import torch

    description, tensors = read_network(path)
    try:
        channels, size, _ = description["shape"]
        spec = NetworkSpec(int(channels), int(size), int(description["classes"]))
        network = network_plugin(str(description["network"])).build(spec)
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path}: its description is not readable ({error}).") from None
    load_tensors_into(network, tensors)
    network = network.to(memory_format=torch.channels_last).eval()
    return network, tensors_sha256(network.state_dict())


def _reason(record: Record, spec: RunSpec) -> str | None:
    """Why bitwise equality is not to be expected here; None where it is."""
    if spec.device != "cpu" or record.manifest.get("device") != "cpu":
        return "it ran on a GPU"
    then, now = record.manifest.get("hardware") or {}, hardware()
    for key in ("processor", "cpu_capability", "system"):
        if then.get(key) != now.get(key):
            return f"{key} was {then.get(key)!r} and is {now.get(key)!r} here"
    libraries = record.manifest.get("libraries") or {}
    import torch

    if libraries.get("torch") != torch.__version__.partition("+")[0] and libraries.get("torch") != torch.__version__:
        return f"torch was {libraries.get('torch')} and is {torch.__version__} here"
    if record.manifest.get("method_sha256") != spec.method_sha256:
        return "the method's source has changed since"
    return None


def _bitwise(then: Record, now: Record) -> Iterator[str]:
    assert then.dense and now.dense and then.pruned and now.pruned
    yield from _same("data", then.manifest.get("data_fingerprint"), now.manifest.get("data_fingerprint"))
    for number, (before, after) in enumerate(zip(then.curve, now.curve, strict=False)):
        if then.budget.unit == "dense_epochs":
            where = f"curve, point {number} ({before.phase}, epoch {before.epoch:g})"
            yield from _same(where, before.values, after.values)
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
        if then.budget.unit == "dense_epochs":
            yield from _same(f"ledger, {phase}", *counts)
    yield from _same("ratios", then.ratios, now.ratios)


def _tolerant(then: Record, now: Record) -> Iterator[str]:
    assert then.dense and now.dense and then.pruned and now.pruned
    yield from _same("data", then.manifest.get("data_fingerprint"), now.manifest.get("data_fingerprint"))
    yield from _same("dense MACs", then.dense.macs, now.dense.macs)
    tolerance = then.track_fields.get("tolerance", 0.02)
    if abs(now.pruned.macs / then.pruned.macs - 1) > 2 * tolerance:
        yield f"pruned MACs: {then.pruned.macs} in the record, {now.pruned.macs} now, more than the track's tolerance"
    for name, old, new in (("dense", then.dense, now.dense), ("pruned", then.pruned, now.pruned)):
        yield from _accuracies(name, old, new, exact=False)


def _sizes(name: str, then: Measured, now: Measured) -> Iterator[str]:
    for key in ("macs", "macs_nonzero", "params", "nonzero", "bytes", "peak_bytes"):
        yield from _same(f"{name} {key}", getattr(then, key), getattr(now, key))


def _sizes_and_tolerance(name: str, then: Measured, now: Measured) -> Iterator[str]:
    yield from _sizes(name, then, now)
    yield from _accuracies(name, then, now, exact=False)


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


def _same(where: str, then: Any, now: Any) -> Iterator[str]:
    if then != now:
        yield f"{where}: {str(then)[:120]} in the record, {str(now)[:120]} now"
