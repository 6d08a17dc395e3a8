"""A network, measured for a record: accuracy, sizes, memory and identity, by the measures beside this file."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict

import torch
from torch import Tensor, nn

from bench.data.splits import Data
from bench.measure.accuracy import measure_accuracy, pack_bits
from bench.measure.latency import Latency, measure_latency
from bench.measure.macs import count_macs, macs_nonzero
from bench.measure.memory import peak_bytes
from bench.measure.precision import autocast
from bench.measure.size import measure_size
from bench.records.record import LatencyRow, Layer, Measured

__all__ = ["latencies", "layers_of", "measure", "tensors_sha256"]


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values: equal exactly when two networks are bitwise equal."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def latencies(
    networks: Mapping[str, nn.Module], data: Data, batch: int, seconds: float
) -> dict[str, tuple[Latency, ...]]:
    """Latency of several networks in one loop, at batch 1 and `batch`; about `seconds` for each row."""
    return measure_latency(networks, data.shape, (1, batch), max_seconds=seconds)


def measure(
    network: nn.Module, data: Data, precision: str, batch: int, latency: tuple[Latency, ...], classes: int
) -> Measured:
    """Everything that a record says of one network. The test split is looked at here, once.

    Args:
        network: on the device of `data`.
        data: with its test split.
        precision: in which accuracy is measured.
        batch: for the peak memory.
        latency: as measured beside the other network of the record.
        classes: number of labels.
    """
    device = next(network.parameters()).device
    with autocast(device, precision):
        validation = measure_accuracy(network, data.validation_batches(), classes)
        test = measure_accuracy(network, data.test_batches(), classes, keep_correct=True)
    size = measure_size(network)
    macs = count_macs(network, data.shape)
    assert test.correct is not None
    return Measured(
        top1_val=validation.top1,
        top1_test=test.top1,
        top5_val=validation.top5,
        top5_test=test.top5,
        loss_val=validation.loss if math.isfinite(validation.loss) else None,
        log_loss_test=test.loss if math.isfinite(test.loss) else None,
        correct_test=pack_bits(test.correct),
        macs=macs.total,
        macs_convolutions=sum(count for name, count in macs.by_layer.items() if _is_convolution(network, name)),
        macs_nonzero=macs_nonzero(network, data.shape),
        params=size.params,
        nonzero=size.nonzero,
        weights=size.weights,
        weights_nonzero=size.weights_nonzero,
        bytes=size.bytes,
        peak_bytes=peak_bytes(network, data.shape, batch),
        latency=tuple(LatencyRow(**asdict(row)) for row in latency),
        weights_sha256=tensors_sha256(network.state_dict()),
    )


def layers_of(dense: nn.Module, pruned: nn.Module, shape: tuple[int, ...]) -> tuple[Layer, ...]:
    """Convolutions and linear layers, in module order, with their output widths before and after."""
    macs = count_macs(pruned, shape).by_layer
    rows = []
    for name, module in pruned.named_modules():
        if isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
            own = list(module.parameters(recurse=False))
            rows.append(
                Layer(
                    name=name,
                    width_before=_width(dense.get_submodule(name)),
                    width_after=_width(module),
                    params=sum(p.numel() for p in own),
                    nonzero=sum(int(p.count_nonzero()) for p in own),
                    macs=macs.get(name, 0),
                )
            )
    return tuple(rows)


def _is_convolution(network: nn.Module, name: str) -> bool:
    return isinstance(network.get_submodule(name), nn.modules.conv._ConvNd)


def _width(layer: nn.Module) -> int:
    width = layer.out_channels if isinstance(layer, nn.modules.conv._ConvNd) else layer.out_features
    assert isinstance(width, int)
    return width
