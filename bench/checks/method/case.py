"""One method under check: its settings, and runs of it on small tracks in stores that are thrown away.

The tracks are the TOML files of this folder, cut to a few images. Most checks are on one of them: LeNet-5, or the first
that has what the method needs, or the network that the user names. A run asked for twice is made once: checks share
them. Nothing here judges; that is what the checks do.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from bench.checks.method.toy_networks import Narrow, Plain, Residual, Unprunable
from bench.data.base import Images, dataset
from bench.data.splits import Data, split_images
from bench.errors import UsageError
from bench.networks.base import Network, NetworkSpec
from bench.networks.registry import network as network_named
from bench.plugins import registered
from bench.records.record import UNFINISHED, Record
from bench.records.store import Store
from bench.runner.inputs import Device, with_inputs
from bench.runner.jobs import Job, settings_of
from bench.runner.needs import unmet_need
from bench.runner.run import Workplace, data_key, execute
from bench.specs.budget import Unit
from bench.specs.run import RunSpec
from bench.specs.target import Target
from bench.specs.track import Track, load_track
from bench.surgery.trace import trace_groups
from bench.trial.method import Method

__all__ = ["Case", "CheckFailed", "DoesNotApply", "check_track", "known_networks", "network_track"]

_IMAGES = {"digits": (500, 100), "digits-rgb": (26, 10)}  # stored training and test images that are used
_DEFAULTS = ("lenet5", "residual")


class CheckFailed(Exception):
    """A check found a fault. The text says what was wrong, and the next action."""


class DoesNotApply(Exception):
    """A check says nothing about this method. The text says why."""


def check_track(name: str) -> Track:
    """One of the kit's own tracks: `lenet5`, `residual`, `plain` or `resnet20`."""
    return load_track(str(files("bench.checks.method") / f"{name}.toml"))


@contextmanager
def known_networks() -> Iterator[None]:
    """Inside, the kit's own networks are known by their names."""
    with ExitStack() as stack:
        for network in (Narrow, Plain, Residual, Unprunable):
            stack.enter_context(registered("bench.networks", "bench.networks", Network, network))
        yield


def network_track(network: str) -> Track:
    """The kit's own track of a network, else one of a few digits, grey or in colour as the network is known for.

    Raises:
        UsageError: there is no such network.
    """
    own = {track.network: track for track in map(check_track, ("lenet5", "residual", "plain", "resnet20"))}
    if network in own:
        return own[network]
    with known_networks():
        grey = network_named(network).input.channels == 1
    fields = {"name": network.replace(":", "-"), "network": network, "dataset": "digits" if grey else "digits-rgb"}
    return check_track("residual" if grey else "resnet20").model_copy(update=fields)


def _main_track(method: type[Method], network: str | None) -> Track:
    """The track of most checks.

    Raises:
        UsageError: no such network, or it lacks what the method needs.
    """
    tracks = [check_track(name) for name in _DEFAULTS] if network is None else [network_track(network)]
    with known_networks():
        missing = [unmet_need(method, track) for track in tracks]
    if None in missing:
        return tracks[missing.index(None)]
    raise UsageError(f"{missing[-1]} Give a network that has it: bench check {method.name} --network NAME.")


class _SmallWorkplace(Workplace):
    """Serves the first few images of a track's data set; in the data sets used here these mix the classes."""

    def data_of(self, track: Track, device: Device) -> Data:
        key = data_key(track, device)
        if key not in self.loaded:
            source = dataset(track.dataset)
            train, test = (
                Images(part.pixels[:count], part.labels[:count])
                for part, count in zip(source.load(self.data_folder), _IMAGES[track.dataset], strict=True)
                if isinstance(part, Images)
            )
            self.loaded[key] = split_images(source, train, test, track.validation, train.pixels.device)
        return self.loaded[key]


class Case:
    """A method and the runs that checks ask for.

    Args:
        method: the class; it need not be installed.
        settings: `KEY=VALUE` each.
        folder: an empty folder for the stores.
        network: name of the network of most checks; None: LeNet-5, or one that the method can run on.
    """

    def __init__(
        self, method: type[Method], settings: tuple[str, ...], folder: Path, network: str | None = None
    ) -> None:
        self.method, self.network = method, network
        self.settings, self.folder = settings, folder
        self._workplaces = [_SmallWorkplace(Store(folder / name), folder / "data") for name in ("first", "second")]
        self._records: dict[tuple[str, bool], Record] = {}

    @cached_property
    def config(self) -> dict[str, Any]:
        """The settings, all of them, as JSON values.

        Raises:
            UsageError: one is unknown or wrong.
        """
        return settings_of({self.method.name: self.method}, self.settings)[self.method.name]

    @cached_property
    def track(self) -> Track:
        """Where most checks run the method.

        Raises:
            UsageError: no such network, or it lacks what the method needs.
        """
        return _main_track(self.method, self.network)

    @cached_property
    def one_channel(self) -> Target:
        """A target that the network of `track` meets with one channel left in every group, and with nothing larger."""
        track, source = self.track, dataset(self.track.dataset)
        with known_networks():
            plugin = network_named(track.network)
            spec = NetworkSpec(source.channels, source.size, source.classes)
            groups = trace_groups(plugin.build(spec), spec.shape, track.prunable or plugin.prunable)
        least = groups.cost.macs(dict.fromkeys(groups.widths, 1)) / groups.cost.macs(groups.widths)
        return Target("macs", round(least * 1.005, 6))

    def target(self, ratio: float) -> Target:
        """The target for a size, in the measure that fits the method's kind."""
        if self.method.targets in ("none", "auto"):
            return Target(self.method.targets)
        return Target("macs" if self.method.kind == "structured" else "params", ratio)

    def run(
        self,
        track: Track,
        target: Target,
        *,
        seed: int = 0,
        unit: Unit = "dense_epochs",
        method: type[Method] | None = None,
        again: bool = False,
    ) -> Record:
        """The record of one run, whatever its status is.

        Args:
            track: where.
            target: the size to reach.
            seed: of the run.
            unit: of the budget.
            method: instead of the method under check: a class made from it.
            again: in the second store, which shares nothing with the first.
        """
        method = method or self.method
        spec = self.spec(track, target, seed=seed, unit=unit, method=method)
        if (spec.run_id, again) not in self._records:
            self._records[spec.run_id, again] = self.execute(spec, method, again)
        return self._records[spec.run_id, again]

    def spec(
        self,
        track: Track,
        target: Target,
        *,
        seed: int = 0,
        unit: Unit = "dense_epochs",
        method: type[Method] | None = None,
    ) -> RunSpec:
        """What `run` runs, with the same arguments."""
        method = method or self.method
        spec = RunSpec(method.name, self.config, "", track, unit, target, seed)
        with self._registered(method):
            filled = with_inputs(spec, method, self._workplaces[0].inputs(track, "cpu"))
        return replace(filled, sources={})  # a class made from the method stands for it: its module is another

    def execute(self, spec: RunSpec, method: type[Method], again: bool = False) -> Record:
        """Runs `spec` with the class `method`, every time; what a stopped run left in the store is taken up."""
        with self._registered(method):
            job = Job(spec, f"bench check {self.method.name}", tuple(method.observers))
            return execute(job, self._workplaces[again])

    @contextmanager
    def _registered(self, method: type[Method]) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(registered("bench.methods", "bench.methods", Method, method))
            stack.enter_context(known_networks())
            yield

    def finished(self, track: Track, target: Target, **how: Any) -> Record:
        """The record of a run (see `run`) that came to its end.

        Raises:
            CheckFailed: the run failed, or the guard found something.
        """
        record = self.run(track, target, **how)
        self.ended_well(record)
        return record

    def ended_well(self, record: Record) -> None:
        """Does nothing for a run that came to its end.

        Raises:
            CheckFailed: the run failed, or the guard found something.
        """
        if record.pruned is None or record.status in (*UNFINISHED, "invalid"):
            raise CheckFailed(f"the run at {record.target} on {record.track} is {record.status}: {self.reason(record)}")

    def reason(self, record: Record) -> str:
        """Why a run failed: the last line of its error, and where in the method's file that was raised."""
        error = (record.error or "no error was kept").strip()
        module = re.escape(self.method.__module__.rpartition(".")[2])
        lines = re.findall(rf'File ".*?({module}\.py)", line (\d+)', error)
        place = f" (from {lines[-1][0]}, line {lines[-1][1]})" if lines else ""
        return error.splitlines()[-1] + place
