"""One method under check: its settings, and runs of it on small tracks in stores that are thrown away.

The tracks are the TOML files of this folder, cut to a few images. A run asked for twice is made once: checks share
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

from bench.checks.method.toy_networks import Narrow, Unprunable
from bench.data.base import Images, dataset
from bench.data.splits import Data, split_images
from bench.networks.base import Network
from bench.plugins import registered
from bench.records.record import Record
from bench.records.store import Store
from bench.runner.inputs import Device, with_inputs
from bench.runner.jobs import Job, RunRequest, make_plan
from bench.runner.run import Workplace, data_key, execute
from bench.specs.budget import Unit
from bench.specs.run import RunSpec
from bench.specs.target import Target
from bench.specs.track import Track, load_track
from bench.trial.method import Method

__all__ = ["Case", "CheckFailed", "DoesNotApply", "check_track"]

_IMAGES = {"digits": (500, 100), "digits-rgb": (42, 10)}  # stored training and test images that are used


class CheckFailed(Exception):
    """A check found a fault. The text says what was wrong, and the next action."""


class DoesNotApply(Exception):
    """A check says nothing about this method. The text says why."""


def check_track(name: str) -> Track:
    """One of the kit's own tracks: `lenet5`, `vgg16` or `resnet20`."""
    return load_track(str(files("bench.checks.method") / f"{name}.toml"))


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
    """

    def __init__(self, method: type[Method], settings: tuple[str, ...], folder: Path) -> None:
        self.method = method
        self.settings, self.folder = settings, folder
        self._workplaces = [_SmallWorkplace(Store(folder / name), folder / "data") for name in ("first", "second")]
        self._records: dict[tuple[str, bool], Record] = {}

    @cached_property
    def config(self) -> dict[str, Any]:
        """The settings, all of them, as JSON values.

        Raises:
            UsageError: one is unknown or wrong.
        """
        request = RunRequest(methods=(self.method.name,), targets=(str(self.target(0.5)),), settings=self.settings)
        with registered("bench.methods", "bench.methods", Method, self.method):
            return make_plan(request)[0].spec.config

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
            for network in (Narrow, Unprunable):
                stack.enter_context(registered("bench.networks", "bench.networks", Network, network))
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
        if record.pruned is None or record.status in ("failed", "invalid"):
            raise CheckFailed(f"the run at {record.target} on {record.track} is {record.status}: {self.reason(record)}")

    def reason(self, record: Record) -> str:
        """Why a run failed: the last line of its error, and where in the method's file that was raised."""
        error = (record.error or "no error was kept").strip()
        module = re.escape(self.method.__module__.rpartition(".")[2])
        lines = re.findall(rf'File ".*?({module}\.py)", line (\d+)', error)
        place = f" (from {lines[-1][0]}, line {lines[-1][1]})" if lines else ""
        return error.splitlines()[-1] + place
