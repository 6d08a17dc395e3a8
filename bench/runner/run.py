"""One run, from its spec to its record: the only place that knows the order of the steps (design: data, dense
network, `prune`, fine-tuning, the target, measuring, the record)."""

import os
import shutil
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from bench.data.splits import Data, check_augmentation, load_data
from bench.errors import BenchError, DataError, GuardViolation, StoreError, UsageError
from bench.journal import interrupt
from bench.journal.files import FileJournal, JournalRefused
from bench.journal.protocol import Journal
from bench.measure.latency import Latency
from bench.measure.macs import count_macs
from bench.measure.network import latencies, layers_of, measure
from bench.networks.base import Network
from bench.networks.registry import network_of
from bench.records.lookup import find_record
from bench.records.record import LatencyRow, Measured, Record, Status
from bench.records.store import Store, sweep, write_atomically
from bench.runner.dense import Dense, build, dense_network
from bench.runner.dense_files import read_measured, write_measured
from bench.runner.inputs import Device, TrackInputs, inputs_in, refuse_other_inputs
from bench.runner.jobs import Job
from bench.runner.live import LIVE, LiveCurve
from bench.runner.machines import add_machine, machines_in
from bench.runner.record_builder import RecordBuilder, budget_amount, ratios_of, search_of, status_of
from bench.seeding import generator, isolated, use_threads
from bench.specs.budget import TRAINING, Budget, Ledger
from bench.specs.run import RunSpec, package_sha256
from bench.specs.track import Track
from bench.surgery import save_network
from bench.training.hooks import Observer
from bench.trial.method import Method
from bench.trial.methods import method_class
from bench.trial.phases import begin, calls_of, finetune, settle
from bench.trial.setup import TrialSetup
from bench.trial.trial import Trial

__all__ = ["Report", "Workplace", "execute"]

Report = Callable[[str, float], None]
LATENCY_SECONDS = 0.06  # by network and batch size, ten runs at least


@dataclass
class Workplace:
    """What runs on one machine share: the store, the data folder, and data sets that are loaded already."""

    store: Store
    data_folder: Path
    loaded: dict[tuple[str, ...], Data] = field(default_factory=dict)

    def data(self, spec: RunSpec) -> Data:
        """The track's data on the run's device; loaded once."""
        return self.data_of(spec.track, spec.device)

    def data_of(self, track: Track, device: Device) -> Data:
        """The track's data on a device; loaded once."""
        check_augmentation(track)
        key = data_key(track, device)
        if key not in self.loaded:
            self.loaded.clear()
            self.loaded[key] = load_data(track, self.data_folder, device)
        return self.loaded[key]

    def inputs(self, track: Track, device: Device) -> TrackInputs:
        """What the track's network and images are; see `bench.runner.inputs`."""
        return inputs_in(track, self.data_of(track, device))


def data_key(track: Track, device: str) -> tuple[str, ...]:
    """What two tracks share whose data are the same: in `Workplace.loaded`."""
    own = "" if track.images is None else f"{track.root} {track.images.model_dump_json()}"
    return track.dataset, own, track.validation.model_dump_json(), device


def execute(
    job: Job,
    workplace: Workplace,
    report: Report = lambda _phase, _share: None,
) -> Record:
    """Runs a job to its end and writes its record, whatever that end is.

    Args:
        job: what to run.
        workplace: store and data.
        report: told the phase and how far it is.

    Returns:
        The record as it was written. Its status is `failed` or `invalid` where the method went wrong.

    Raises:
        StoreError, DataError: the store or the data cannot be used, or the images are not those of the plan; nothing
            was written.
        UsageError: the code of the method or the network is not that of the plan any more; nothing was written.
        JournalRefused: a killed process left a journal that this code cannot go on with; nothing was written.
    """
    spec, process = job.spec, os.getpid()
    data = workplace.data(spec)
    refuse_other_inputs(spec, None, data)
    with use_threads(spec.track.threads, spec.device):
        dense = _before_the_method(job, data, workplace.store, report)
        method = method_class(spec.method)
        refuse_other_inputs(spec, method, data)
        builder = RecordBuilder(spec, method, job.command)
        builder.provenance["data_fingerprint"] = data.fingerprint
        try:
            status = _steps(spec, method, data, workplace.store, builder, dense, report)
            record = builder.record(status)
        except GuardViolation as error:
            record = builder.record("invalid", str(error))
        except (StoreError, DataError, JournalRefused, interrupt.Stopped):
            raise
        except BaseException as error:  # a plugin may fail in any way: the record says how, and other runs go on
            if isinstance(error, KeyboardInterrupt) and interrupt.requested():
                raise
            record = _failed(builder, error)
    if os.getpid() != process:
        os._exit(1)  # a child that a plugin forked and let go on: the run is its parent's
    workplace.store.write(record)
    shutil.rmtree(journal_folder(workplace.store, spec), ignore_errors=True)
    (workplace.store.folder(spec.run_id) / LIVE).unlink(missing_ok=True)
    sweep(workplace.store.folder(spec.run_id))
    return record


@dataclass(frozen=True)
class _Begun:
    """What came of the run's first step: the dense network, or why there is none."""

    dense: Dense | BaseException
    observers: tuple[type[Observer], ...]
    seconds: float


def _before_the_method(job: Job, data: Data, store: Store, report: Report) -> _Begun:
    """Takes or trains the dense network, which others share, before the method's code is imported: importing it may
    change anything in this process."""
    begun = time.monotonic()
    found: Dense | BaseException
    try:
        found = dense_network(job.spec, network_of(job.spec.track), data, store, job.observers, report)
    except (StoreError, DataError, interrupt.Stopped):
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and interrupt.requested():
            raise
        found = error
    return _Begun(found, job.observers, time.monotonic() - begun)


def _failed(builder: RecordBuilder, error: BaseException) -> Record:
    """The record of a run that raised; its text is a plugin's, and may be anything, or fail itself."""
    try:
        said = f"{type(error).__name__}: {error}" if isinstance(error, BenchError) else traceback.format_exc()
    except Exception:
        said = f"{type(error).__name__}, whose text cannot be had"
    try:
        return builder.record("failed", said)
    except Exception as wrong:  # what it left does not fit into a record
        return RecordBuilder(builder.spec, builder.method, builder.command).record(
            "failed", f"{said}\n{type(wrong).__name__}: {wrong}"
        )


def journal_folder(store: Store, spec: RunSpec) -> Path:
    """Where a run's journal is while the run is under way."""
    return store.folder(spec.run_id) / "journal"


def _journal(store: Store, spec: RunSpec, data: Data, dense: Dense) -> FileJournal:
    """The run's journal, begun or taken up; on which machine does not matter, and is noted beside it.

    Raises:
        JournalRefused: what is there was begun with other code, libraries, data or settings.
    """
    head = {
        **spec.identity(),
        "harness_sha256": package_sha256(),
        "torch": torch.__version__,
        "data_fingerprint": data.fingerprint,
        "dense_sha256": dense.weights_sha256,
    }
    folder = journal_folder(store, spec)
    journal = FileJournal(folder, head)
    add_machine(folder, spec.device)
    return journal


def _steps(
    spec: RunSpec,
    method: type[Method],
    data: Data,
    store: Store,
    builder: RecordBuilder,
    first: _Begun,
    report: Report,
) -> Status:
    builder.wall_seconds["dense"] = first.seconds
    dense = first.dense
    if isinstance(dense, BaseException):
        raise dense
    plugin = network_of(spec.track)
    wanted = tuple(dict.fromkeys((*method.observers, *first.observers)))
    if not set(method.observers) <= set(first.observers):  # of a job that was made without the plan's
        with builder.timed("dense"):
            dense = dense_network(spec, plugin, data, store, wanted, report)
    builder.provenance |= dense.provenance()
    journal = _journal(store, spec, data, dense)
    builder.provenance["machines"] = machines_in(journal_folder(store, spec))
    before = dense.curve if method.starts == "trained" else ()
    live = LiveCurve(store.folder(spec.run_id) / LIVE, before)

    def watched(phase: str, share: float) -> None:
        live.write(calls.curve)
        report(phase, share)

    trial = _trial(spec, method, plugin, data, dense, store, watched, journal)
    builder.ledger, calls = trial.ledger, calls_of(trial)

    try:
        begin(trial)
        try:
            report("prune", 0.0)
            with builder.timed("method"), isolated(spec.seed, "method", spec.method):
                method().prune(trial)
            if method.finetunes == "track":
                with builder.timed("finetune"):
                    finetune(trial)
        except Exception as error:
            if calls.guard.violations:  # even where the method swallowed the first violation
                raise GuardViolation(calls.guard.violations[0]) from error
            if isinstance(error, UsageError) and not journal.cannot_go_on(error):  # the method's: it has its record
                raise BenchError(f"{type(error).__name__}: {error}") from error
            raise
        finally:
            settle(trial)
    finally:
        builder.search = search_of(calls.curve)
        builder.curve = before + tuple(calls.curve)
    if calls.guard.violations:
        raise GuardViolation(calls.guard.violations[0])
    if trial.surgery.weights.active:
        trial.surgery.weights.apply_()

    report("measure", 0.0)
    network, batch = trial.network.eval(), spec.track.latency_batch
    with builder.timed("measure"):
        both = latencies({"dense": dense.network, "pruned": network}, data, batch, LATENCY_SECONDS)
        builder.dense = _measure_dense(dense, data, spec, both["dense"])
        builder.pruned = measure(network, data, spec.precision, batch, both["pruned"], data.classes)
    builder.layers = layers_of(dense.network, network, data.shape)
    structured = method.kind == "structured" and spec.target.measure != "none"
    builder.left_out = {each.name: each.reason for each in trial.surgery.left_out} if structured else {}
    prunable = {name for group in trial.surgery.groups for name in group.layers} if structured else set()
    builder.ratios = ratios_of(builder.dense, builder.pruned, builder.layers, prunable)
    description = description_of(spec.track, data)
    path = store.folder(spec.run_id) / "network.safetensors"
    write_atomically(path, lambda temporary: save_network(network, temporary, description))
    return status_of(spec, method, builder.dense, builder.pruned, builder.ratios)


def description_of(track: Track, data: Data) -> dict[str, Any]:
    """What a stored network says of itself: what builds it again, and how its images are normalised."""
    return {
        "network": track.network,
        "shape": list(data.shape),
        "classes": data.classes,
        "mean": list(data.normaliser.mean),
        "std": list(data.normaliser.std),
        **({"settings": track.settings} if track.settings else {}),
        **({"class_names": list(track.images.names)} if track.images and track.images.names else {}),
    }


def _measure_dense(dense: Dense, data: Data, spec: RunSpec, latency: tuple[Latency, ...]) -> Measured:
    """The dense network's measures: kept beside it, for all runs that share it; its latency is this run's own."""
    batch = spec.track.latency_batch
    name = f"measured-{batch}.json"
    rows = tuple(LatencyRow(**asdict(row)) for row in latency)
    kept = read_measured(dense.source / name, dense.weights_sha256) or read_measured(
        dense.folder / name, dense.weights_sha256
    )
    if kept is None:
        kept = measure(dense.network, data, spec.precision, batch, latency, data.classes)
        write_measured(dense.folder / name, kept)
    return kept.model_copy(update={"latency": rows})


def _trial(
    spec: RunSpec,
    method: type[Method],
    plugin: Network,
    data: Data,
    dense: Dense,
    store: Store,
    report: Report,
    journal: Journal,
) -> Trial:
    track = spec.track
    trained = method.starts == "trained"
    network = build(plugin, data, spec.seed, fresh=not (trained and track.weights is not None))
    if trained:
        network.load_state_dict(dense.network.state_dict())
    network.eval()
    macs = count_macs(network, data.shape).total
    params = sum(parameter.numel() for parameter in network.parameters())
    budget = Budget(budget_amount(spec), spec.unit, TRAINING * macs * len(data.train))
    ledger = Ledger(budget, track.budget.search_share)
    if trained:
        ledger.charge("dense", dense.spent)
    setup = TrialSetup(
        network=network,
        config=method.Config.model_validate(spec.config),
        target=spec.target,
        rng=generator(spec.seed, "method", spec.method),
        history=dense.history if trained else type(dense.history)(),
        ledger=ledger,
        recipe=track.finetune if trained else track.dense,
        precision=spec.precision,
        seed=spec.seed,
        data=data.for_method(),
        prunable=track.prunable or plugin.prunable,
        dense_macs=macs,
        dense_params=params,
        proof_inputs=proof_inputs(data),
        observers=[each() for each in method.observers],
        initialise=plugin.initialise,
        initial=lambda: (dense.network if track.weights else build(plugin, data, spec.seed)).state_dict(),
        recorded_widths=lambda run: _widths(store, run),
        dense_epochs=track.dense.epochs,
        journal=journal,
        report=report,
    )
    return Trial(setup)


def proof_inputs(data: Data) -> torch.Tensor:
    """The images on which removals are proven: standard normal, the same for every run of a shape."""
    drawn = torch.randn(8, *data.shape, generator=generator("proof"))
    return drawn.to(data.device, memory_format=torch.channels_last)


def _widths(store: Store, run: str) -> Mapping[str, int]:
    """The widths of a finished run's layers."""
    try:
        record, _ = find_record(run, store.root)
    except UsageError as error:  # of this run's settings alone: the other runs go on
        raise BenchError(f"widths of run {run!r}: {error}") from None
    return {layer.name: layer.width_after for layer in record.layers}
