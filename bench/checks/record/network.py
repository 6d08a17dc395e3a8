"""The network beside a record: loaded without the plugin that made it, and measured again."""

from pathlib import Path

from bench.checks.record.rerun import load_pruned, measure_again
from bench.checks.record.submission import Doubtful, Refused, Submission
from bench.data.own import dataset_of
from bench.errors import DataError
from bench.measure.macs import count_macs, macs_nonzero
from bench.measure.network import layers_of
from bench.measure.size import measure_size

__all__ = ["network_check"]


def network_check(it: Submission, path: Path, data: Path | None) -> str:
    """Weights, sizes and, where the images are at hand, accuracy.

    Args:
        it: the record.
        path: the network's file.
        data: data folder; None: only data sets that need no files are at hand.

    Raises:
        Refused: the network is not the record's, or measures differently.
        Doubtful: it is the record's, but its accuracy could not be measured.
        StoreError: the file is damaged, or describes another network.
    """
    track = it.here
    source = dataset_of(track)
    shape = source.shape
    wanted = {"network": track.network, "shape": list(shape), "classes": source.classes}
    network, sha256 = load_pruned(path, wanted, track.root)
    if sha256 != it.pruned.weights_sha256:
        raise Refused(f"pruned.weights_sha256 is {it.pruned.weights_sha256}, and the stored network is {sha256}")
    size = measure_size(network)
    found = {
        "macs": count_macs(network, shape).total,
        "macs_nonzero": macs_nonzero(network, shape),
        "params": size.params,
        "nonzero": size.nonzero,
        "weights_nonzero": size.weights_nonzero,
        "bytes": size.bytes,
    }
    for name, value in found.items():
        if getattr(it.pruned, name) not in (None, value):
            raise Refused(f"pruned.{name} is {getattr(it.pruned, name)}, and the stored network has {value}")
    nonzero = {layer.name: layer.nonzero for layer in layers_of(network, network, shape)}
    for layer in it.record.layers:
        if layer.nonzero != nonzero.get(layer.name):
            raise Refused(f"layers.{layer.name}.nonzero is {layer.nonzero}, and is {nonzero.get(layer.name)} there")
    if track.images is not None and it.known is None:
        raise Doubtful("weights and sizes are the record's; its images are not here, or others by now")
    if data is None and not (it.known and it.known.bundled):
        raise Doubtful("weights and sizes are the record's; accuracy was not measured. Give --data DIR")
    try:
        verdict = measure_again(it.record, path, data or path.parent, track.root)
    except DataError as error:
        raise Doubtful(f"weights and sizes are the record's; accuracy was not measured: {error}") from None
    if not verdict.equal:
        raise Refused(f"measured again: {verdict.first} ({verdict.how})")
    return f"weights, sizes and accuracy measured again: equal ({verdict.how})"
