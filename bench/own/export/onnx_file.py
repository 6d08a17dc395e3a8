"""A pruned network as an ONNX file: written by PyTorch's exporter, held against PyTorch by onnxruntime.

With the normalisation in the graph the input is pixels from 0 to 255, as they are decoded; otherwise it is images that
are normalised by the mean and deviation in the file's metadata. The number of images is free.
"""

import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from bench.data.splits import Normaliser
from bench.errors import UsageError
from bench.measure.latency import Latency, measure_latency
from bench.own.export.load import Stored
from bench.records.store import write_atomically
from bench.seeding import generator
from bench.surgery.architecture import load_tensors_into

__all__ = ["Exported", "Normalisation", "export_onnx", "onnx_module"]

Normalisation = Literal["graph", "metadata"]
TOLERANCE = 1e-4  # of the outputs' spread
_CHECKED = 8  # images
_LATENCY_SECONDS = 0.3


@dataclass(frozen=True)
class Exported:
    """A file that was written and held against PyTorch.

    Attributes:
        path: the file.
        bytes: its size.
        difference: the largest between onnxruntime and PyTorch, as a share of the outputs' spread.
        latency: by `dense` and `pruned`, in PyTorch (`torch`) and onnxruntime (`onnx`), at batch 1 and a larger one;
            empty where it was not asked for.
    """

    path: Path
    bytes: int
    difference: float
    latency: dict[tuple[str, str], tuple[Latency, ...]]

    def lines(self) -> list[str]:
        """For people."""
        lines = [
            f"wrote {self.path}: {self.bytes:,} bytes",
            f"onnxruntime against PyTorch: largest difference {self.difference:.1e} of the outputs' spread",
        ]
        for (which, how), rows in self.latency.items():
            name = "PyTorch" if how == "torch" else "onnxruntime"
            times = ", ".join(f"{row.median_seconds * 1e3:.3g} ms at batch {row.batch}" for row in rows)
            lines.append(f"latency, {which}, {name}: {times}")
        return lines


class _WithNormalisation(nn.Module):
    """Pixels `[N, C, H, W]` from 0 to 255 -> outputs."""

    def __init__(self, network: nn.Module, normaliser: Normaliser) -> None:
        super().__init__()
        self.network = network
        self.scale = nn.Buffer(normaliser._scale.clone())
        self.offset = nn.Buffer(normaliser._offset.clone())

    def forward(self, pixels: Tensor) -> Tensor:
        outputs: Tensor = self.network(pixels * self.scale + self.offset)
        return outputs


def export_onnx(
    found: Stored, path: Path, normalisation: Normalisation = "graph", timed: bool = True, threads: int = 1
) -> Exported:
    """Writes the file, whole or not at all.

    Args:
        found: the network.
        path: the file to write; one that is there is replaced.
        normalisation: `graph`: the input is pixels, 0 to 255; `metadata`: images that are normalised already.
        timed: whether latency of the dense and the pruned network is measured, which exports the dense one too.
        threads: CPU threads of onnxruntime.

    Raises:
        UsageError: a library is missing, PyTorch cannot export the network, or onnxruntime gives other outputs;
            nothing is written.
    """
    _libraries()
    network = found.dense()
    load_tensors_into(network, found.tensors)
    pixels = torch.randint(0, 256, (_CHECKED, *found.shape), generator=generator("export")).float()
    made = _model(found, network, normalisation, pixels)
    session = _session(made, threads)
    images = _normaliser(found)(pixels.to(torch.uint8))
    inputs = pixels if normalisation == "graph" else images
    with torch.inference_mode():
        wanted = network.eval()(images).numpy()
    (given,) = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})
    spread = float(wanted.max() - wanted.min()) or float(np.abs(wanted).max()) or 1.0
    difference = float(np.abs(given - wanted).max()) / spread
    if not difference <= TOLERANCE:
        raise UsageError(
            f"onnxruntime's outputs differ from PyTorch's by {difference:.2g} of their spread, and {TOLERANCE:g} is "
            "allowed. Nothing was written. Export the network as safetensors instead."
        )
    latency = _latency(found, network, made, normalisation, threads) if timed else {}

    def write(temporary: Path) -> None:
        temporary.write_bytes(made)

    write_atomically(path, write)
    return Exported(path, len(made), difference, latency)


def _model(found: Stored, network: nn.Module, normalisation: Normalisation, pixels: Tensor) -> bytes:
    """The ONNX model, with what it is in its metadata."""
    import onnx

    name = "pixels" if normalisation == "graph" else "images"
    whole = _WithNormalisation(network, _normaliser(found)) if normalisation == "graph" else network
    batch = torch.export.Dim("batch", min=1)
    try:
        with _quiet():
            program = torch.onnx.export(
                whole.eval(),
                (pixels[:2],),
                dynamo=True,
                input_names=[name],
                output_names=["outputs"],
                dynamic_shapes=({0: batch},),
                verbose=False,
            )
    except Exception as error:  # the exporter raises errors of many kinds, some pages long
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise UsageError(
            f"PyTorch's exporter does not take this network: {type(error).__name__}: "
            f"{lines[0][:200] if lines else ''}. "
            "Nothing was written. Export it as safetensors instead (--to safetensors)."
        ) from error
    assert program is not None
    model = program.model_proto
    mean, std = found.normalisation()
    about: dict[str, Any] = {
        "run": found.record.run_id if found.record else "",
        "input": "pixels, 0 to 255" if normalisation == "graph" else "(pixels / 255 - mean) / std",
        "mean": json.dumps(list(mean)),
        "std": json.dumps(list(std)),
        "shape": json.dumps(list(found.shape)),
        "classes": json.dumps(found.description.get("class_names", found.classes)),
    }
    onnx.helper.set_model_props(model, {key: str(value) for key, value in about.items()})
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def _latency(
    found: Stored, network: nn.Module, made: bytes, normalisation: Normalisation, threads: int
) -> dict[tuple[str, str], tuple[Latency, ...]]:
    """Dense and pruned in PyTorch and in onnxruntime, in turns."""
    dense = found.dense()
    pixels = torch.zeros(2, *found.shape)
    models: Mapping[str, bytes] = {"dense": _model(found, dense, normalisation, pixels), "pruned": made}
    batch = int(found.record.track_fields.get("latency_batch", 64)) if found.record else 64
    networks: dict[str, nn.Module] = {"dense torch": dense, "pruned torch": network}
    networks |= {f"{which} onnx": _Session(_session(model, threads)) for which, model in models.items()}
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        rows = measure_latency(
            networks, found.shape, (1, batch), max_seconds=_LATENCY_SECONDS, memory_format=torch.contiguous_format
        )
    finally:
        torch.set_num_threads(before)
    return {(name.split()[0], name.split()[1]): row for name, row in rows.items()}


def onnx_module(found: Stored, network: nn.Module, threads: int) -> nn.Module:
    """A network in onnxruntime, called as a module, on normalised images; for timing it beside PyTorch.

    Args:
        found: where the network comes from.
        network: what is exported.
        threads: of onnxruntime.
    """
    return _Session(_session(_model(found, network, "metadata", torch.zeros(2, *found.shape)), threads))


class _Session(nn.Module):
    """An onnxruntime session, called as a module."""

    def __init__(self, session: Any) -> None:
        super().__init__()
        self._session, self._name = session, session.get_inputs()[0].name

    def forward(self, images: Tensor) -> Any:
        return self._session.run(None, {self._name: images.numpy()})


def _session(model: bytes, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _normaliser(found: Stored) -> Normaliser:
    mean, std = found.normalisation()
    return Normaliser(tuple(mean), tuple(std), torch.device("cpu"))


def _libraries() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    if missing:
        raise UsageError(f"ONNX needs {', '.join(missing)}: pip install 'bench[export]'.")


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter says much that is for its own developers."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
