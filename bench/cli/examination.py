"""`bench doctor`: what this machine offers a run, and what to do about what is missing.

It only looks: nothing is downloaded, nothing is written but one file that is removed again, no server is asked.
"""

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Literal

from bench.errors import BenchError

__all__ = ["Finding", "examine", "print_findings"]

State = Literal["fine", "missing", "broken"]
_LEAST_FREE_BYTES = 2 * 2**30
_SPEED_SECONDS = 0.3
_EXTRAS = {
    "wandb-workspaces": ("bench report as a W&B report", "report"),
    "onnxruntime": ("bench export --to onnx", "export"),
    "ray": ("--executor ray", "ray"),
    "mkdocs-material": ("the documentation site", "docs"),
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        about: what.
        state: `fine`, `missing` (something is not possible, runs are) or `broken` (runs are not).
        found: what was seen.
        action: what to do; empty where there is nothing to do.
    """

    about: str
    state: State
    found: str
    action: str = ""

    def as_json(self) -> dict[str, str]:
        """As JSON values."""
        return asdict(self)


def examine(store: Path, data: Path, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Everything, in the order in which it matters.

    Args:
        store: folder of the runs.
        data: data folder.
        environment: variables, for W&B's state.
    """
    yield from _packages()
    yield from _devices()
    yield from _plugins()
    yield from _data_sets(data)
    yield _weights_and_biases(environment)
    yield from (_folder("store", store), _folder("data folder", data))


def print_findings(found: list[Finding]) -> None:
    """A table that fits a terminal."""
    from rich.table import Table
    from rich.text import Text

    from bench.records.console import make_console

    colours = {"fine": "green", "missing": "yellow", "broken": "red"}
    table = Table(show_header=False, box=None, padding=(0, 1, 0, 0))
    for finding in found:
        words = finding.found + (f"\n-> {finding.action}" if finding.action else "")
        table.add_row(Text(finding.state, style=colours[finding.state]), Text(finding.about), Text(words))
    make_console().print(table)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _packages() -> Iterator[Finding]:
    python = platform.python_version()
    yield Finding("bench", "fine", f"{_version('bench') or 'not installed as a package'}, Python {python}")
    from packaging.requirements import Requirement

    wanted = [Requirement(text) for text in requires("bench") or () if "extra ==" not in text]
    wrong = [each for each in wanted if not each.specifier.contains(_version(each.name) or "0", prereleases=True)]
    for each in wrong:
        seen = _version(each.name) or "not installed"
        yield Finding(each.name, "broken", f"{seen}; {each.specifier} is needed", f"pip install '{each}'")
    if not wrong:
        shown = ", ".join(f"{name} {_version(name)}" for name in ("torch", "torchvision", "torch-pruning", "wandb"))
        yield Finding("libraries", "fine", f"all {len(wanted)} in range; {shown}")
    for name, (purpose, extra) in _EXTRAS.items():
        found = _version(name)
        if found is None:
            action = f"pip install 'bench[{extra}]', or -e '.[{extra}]' in a checkout, for {purpose}"
            yield Finding(name, "missing", "not installed", action)
        else:
            yield Finding(name, "fine", f"{found}, for {purpose}")


def _devices() -> Iterator[Finding]:
    try:
        import torch
    except Exception as error:  # a broken installation fails in any way
        text = " ".join(str(error).split())[:200]
        yield Finding("torch", "broken", f"cannot be imported: {text}", "reinstall torch and torchvision together")
        return
    from bench.records.hardware import hardware

    machine = hardware()
    threads, cores = torch.get_num_threads(), os.cpu_count()
    words = f"{machine['processor']}, {cores} cores, {machine['cpu_capability']}, {_speed(torch, 'cpu')}"
    yield Finding("CPU", "fine", f"{words} with {threads} threads")
    if not torch.cuda.is_available():
        built = torch.version.cuda
        why = "no GPU is seen" if built else "this torch is built without CUDA"
        yield Finding("GPU", "missing", why, "tracks for a laptop run on the CPU: bench list tracks")
    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        memory = f"{card.total_memory / 2**30:.0f} GiB"
        yield Finding(f"GPU {index}", "fine", f"{card.name}, {memory}, {_speed(torch, f'cuda:{index}')}")


def _speed(torch: Any, device: str) -> str:
    """Training images a second of a small convolution's step, forward and backward."""
    layers = torch.nn.Sequential(torch.nn.Conv2d(16, 32, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(32, 32, 3))
    layers = layers.to(device, memory_format=torch.channels_last)
    images = torch.zeros(64, 16, 32, 32, device=device).to(memory_format=torch.channels_last)
    macs = 64 * (16 * 32 * 9 * 32 * 32 + 32 * 32 * 9 * 30 * 30) * 3
    steps, begun = -1, time.perf_counter()  # the first step warms up
    while steps < 1 or time.perf_counter() - begun < _SPEED_SECONDS:
        layers(images).square().mean().backward()
        if device != "cpu":
            torch.cuda.synchronize()
        steps += 1
        if steps == 0:
            begun = time.perf_counter()
    return f"{macs * steps / (time.perf_counter() - begun) / 1e9:.0f} G MACs/s training"


def _plugins() -> Iterator[Finding]:
    from bench.cli.catalogue import unusable

    for what in ("methods", "datasets", "networks"):
        for complaint in unusable(what):
            yield Finding(what, "missing", complaint, "mend that plugin, or uninstall its package")


def _data_sets(folder: Path) -> Iterator[Finding]:
    from bench.data.base import dataset, dataset_names

    there = [name for name in dataset_names() if not dataset(name).missing(folder)]
    yield Finding("data sets", "fine", ", ".join(there))
    absent = [name for name in dataset_names() if name not in there]
    if absent:
        action = "a run downloads it, or says where it is to be had; --data DIR names a folder that has it"
        yield Finding("data sets", "missing", f"{', '.join(absent)}: not in {folder}", action)


def _weights_and_biases(environment: Mapping[str, str]) -> Finding:
    from bench.tracking.mode import choose_mode

    try:
        mode = choose_mode("auto", environment)
    except BenchError as error:
        return Finding("W&B", "broken", str(error), "unset WANDB_MODE, or give --wandb off")
    action = {
        "online": "",
        "offline": "`wandb login` for runs online; `bench sync` uploads the store then",
        "off": "unset WANDB_MODE, or give --wandb offline",
    }[mode]
    return Finding("W&B", "fine" if mode == "online" else "missing", f"runs go {mode}", action)


def _folder(about: str, path: Path) -> Finding:
    """Whether a folder can be written to, or made, and how much is free there."""
    there = path.resolve()
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        return Finding(about, "broken", f"{path} cannot be written to: {error.strerror}", "name another folder")
    words = f"{path}, {free / 2**30:.0f} GiB free" + ("" if path.exists() else ", not there yet")
    if free < _LEAST_FREE_BYTES:
        return Finding(about, "broken", words, "free some disk, or name a folder on another one")
    return Finding(about, "fine", words)
