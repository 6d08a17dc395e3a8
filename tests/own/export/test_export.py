"""Networks out of the store: loaded, as safetensors, as ONNX."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

import bench
from bench.errors import StoreError, SurgeryError, UsageError
from bench.networks.base import NetworkSpec
from bench.networks.registry import network
from bench.own.export.load import stored
from bench.own.export.onnx_file import export_onnx
from bench.own.export.safetensors_file import export_safetensors
from bench.records.record import Record
from bench.runner.run import Workplace


@pytest.fixture
def pruned(run: Callable[..., Record]) -> Record:
    """A run of l1 on the smoke track."""
    return run("l1")


def lenet() -> nn.Module:
    """The dense network of the smoke track."""
    return network("lenet5").construct(NetworkSpec(1, 28, 10))


def test_a_run_is_loaded_by_its_name_or_into_a_network(pruned: Record, workplace: Workplace) -> None:
    store = workplace.store.root
    loaded = bench.load(pruned.run_id[:-6], store=store)
    mine = lenet()
    assert bench.load(pruned, into=mine, store=store) is mine
    assert mine.conv1.out_channels == loaded.conv1.out_channels < 20
    images = torch.randn(2, 1, 28, 28)
    assert torch.equal(loaded(images), mine(images)) and not mine.training
    assert torch.equal(bench.load(store / pruned.run_id / "network.safetensors")(images), mine(images))
    with pytest.raises(SurgeryError, match="unknown"):
        bench.load(pruned, into=nn.Linear(3, 3), store=store)
    with pytest.raises(StoreError, match="unknown run 'nothing'"):
        bench.load("nothing", store=store)


def test_mean_and_deviation_travel_with_the_network(pruned: Record, workplace: Workplace, tmp_path: Path) -> None:
    found = stored(pruned, workplace.store.root)
    assert found.description["mean"] == [0.3055] and found.description["std"] == [0.3247]
    out = tmp_path / "net.safetensors"
    export_safetensors(found, out)
    with safe_open(out, framework="pt") as file:
        about = json.loads(file.metadata()["bench"])
    assert (about["mean"], about["shape"], about["network"]) == ([0.3055], [1, 28, 28], "lenet5")
    assert torch.equal(bench.load(out).conv1.weight, bench.load(pruned, store=workplace.store.root).conv1.weight)


def test_both_onnx_files_give_the_networks_outputs(pruned: Record, workplace: Workplace, tmp_path: Path) -> None:
    import onnxruntime

    found = stored(pruned, workplace.store.root)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 1, 28, 28)).astype(np.float32)
    images = (pixels / 255 - 0.3055) / 0.3247
    wanted = bench.load(pruned, store=workplace.store.root)(torch.from_numpy(images)).detach().numpy()
    for normalisation, given in (("graph", pixels), ("metadata", images.astype(np.float32))):
        path = tmp_path / f"{normalisation}.onnx"
        made = export_onnx(found, path, normalisation, timed=False)  # type: ignore[arg-type]
        assert made.difference < 1e-4
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (outputs,) = session.run(None, {session.get_inputs()[0].name: given})
        assert np.abs(outputs - wanted).max() < 1e-4 * (wanted.max() - wanted.min())
        about = session.get_modelmeta().custom_metadata_map
        assert json.loads(about["mean"]) == [0.3055]
        assert about["input"] == ("pixels, 0 to 255" if normalisation == "graph" else "(pixels / 255 - mean) / std")


def test_an_onnx_file_that_differs_is_not_written(
    pruned: Record, workplace: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong:
        def get_inputs(self) -> list[object]:
            return [type("Input", (), {"name": "pixels"})]

        def run(self, _names: object, given: dict[str, np.ndarray]) -> list[np.ndarray]:
            return [np.zeros((len(given["pixels"]), 10), np.float32)]

    monkeypatch.setattr("bench.own.export.onnx_file._model", lambda *_: b"model")
    monkeypatch.setattr("bench.own.export.onnx_file._session", lambda *_: Wrong())
    with pytest.raises(UsageError, match="outputs differ from PyTorch's .* Nothing was written"):
        export_onnx(stored(pruned, workplace.store.root), tmp_path / "a.onnx", timed=False)
    assert not list(tmp_path.iterdir())
