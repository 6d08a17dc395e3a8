"""Pruned networks as files."""

import pytest
import torch

from bench.errors import StoreError, SurgeryError
from bench.surgery import load_tensors_into, read_network, remove, save_network
from bench.surgery.trace import trace_groups

SHAPE = (3, 8, 8)


@pytest.mark.parametrize("name", ["plain", "flatten", "residual", "depthwise", "concat"])
def test_round_trip_is_bitwise_equal(name, build, random_keep, inputs, tmp_path):
    network = build(name, seed=1)
    groups = trace_groups(network, SHAPE)
    keep = random_keep(groups, 5) | {groups.offered[0].name: torch.tensor([0])}
    remove(network, groups, keep, inputs)
    save_network(network, tmp_path / "network.safetensors", {"network": name, "shape": SHAPE})
    description, tensors = read_network(tmp_path / "network.safetensors")
    assert description == {"network": name, "shape": list(SHAPE)}
    loaded = build(name, seed=2)
    load_tensors_into(loaded, tensors)
    with torch.no_grad():
        assert torch.equal(loaded.eval()(inputs), network.eval()(inputs))
    assert str(loaded) == str(network)
    loaded.train()(inputs).sum().backward()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.update({"conv9.weight": torch.ones(1)}), "unknown.*conv9.weight"),
        (lambda tensors: tensors.pop("fc1.bias"), "missing.*fc1.bias"),
        (lambda tensors: tensors.update({"fc1.bias": torch.ones(8)}), r"fc1.bias.*\[8\].*\[7\]"),
        (lambda tensors: tensors.update({"fc1.bias": torch.ones(7, 1)}), "fc1.bias"),
        (lambda tensors: tensors.update({"conv1.weight": torch.ones(6, 3, 1, 1)}), "conv1.weight"),
    ],
)
def test_tensors_that_do_not_belong_are_refused(change, message, build):
    network = build("plain")
    tensors = dict(network.state_dict())
    change(tensors)
    with pytest.raises(SurgeryError, match=message):
        load_tensors_into(network, tensors)


def test_files_of_others_are_refused(tmp_path):
    with pytest.raises(StoreError, match="no network that bench saved"):
        read_network(tmp_path / "missing.safetensors")
    (tmp_path / "text.safetensors").write_text("hello, this is no safetensors file")
    with pytest.raises(StoreError, match="no network that bench saved"):
        read_network(tmp_path / "text.safetensors")
