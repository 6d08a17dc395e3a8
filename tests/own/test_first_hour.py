"""From a network in a file and PNG folders to a scored ONNX file, as a new user types it."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import bench
from bench.leaderboard.pages.site import write_leaderboard
from bench.records.record import parse_record
from bench.records.store import read_records

SCORE = """
import json, sys
import numpy as np, onnxruntime
from pathlib import Path
from typing import Any
from PIL import Image
model, folder = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
right = count = 0
for label, directory in enumerate(classes):
    for path in sorted(Path(folder, directory).iterdir()):
        pixels = np.asarray(Image.open(path), dtype=np.float32)
        pixels = pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1)[None]
        right += int(session.run(None, {name: pixels})[0].argmax()) == label
        count += 1
assert not any(module == "bench" or module.startswith("bench.") for module in sys.modules)
print(json.dumps([right, count]))
"""


@pytest.mark.parametrize(("name", "settings"), [("colour", ()), ("grey", ("--set", "channels=1"))])
def test_three_commands_and_a_file_that_scores_the_same(
    name: str, settings: tuple[str, ...], typed: Callable[..., Any], here: Path
) -> None:
    made = typed(
        "new", "track", "mine", "--network", "my_net.py:MyNet", "--weights", f"{name}.pt", "--images", name, *settings
    )
    assert made.code == 0, made.err
    assert "channel groups (3): stem 8, block1.conv1 8, block2.conv1 8" in made.out
    size = {"colour": "3x48x80", "grey": "1x28x28"}[name]
    assert size in made.err and "in memory" in made.err

    ran = typed(
        "run", "--track", "mine.toml", "--method", "l1,random,magnitude,hbfp", "--budget", "2ep", "--wandb", "off"
    )
    assert ran.code == 0, ran.err
    assert "left out on mine: magnitude is unstructured" in ran.err
    assert "left out on mine: hbfp needs dense-history, and the dense network of track 'mine' comes trained" in ran.err
    records = {record.method: record for record in read_records(Path("runs"))[0]}
    assert set(records) == {"l1", "random"}
    record = records["l1"]
    assert record.dense and record.pruned
    assert record.ledger["dense"].macs == 0 and record.budget.amount == 2
    assert record.spent is not None and 1.5 < record.spent <= 2
    assert record.dense.top1_test > 0.9

    asked_for_the_files_budget = typed("best", "--track", "mine.toml", "--target", "macs=0.5")
    assert asked_for_the_files_budget.code == 2
    assert "have another budget than the track's file (say --budget" in asked_for_the_files_budget.err
    best = typed("best", "--track", "mine.toml", "--target", "macs=0.5", "--budget", "2ep")
    assert best.code == 0, best.err
    assert best.out.startswith("best at macs=0.5 on mine: l1")
    assert "random pruning: " in best.out

    out = typed("export", record.run_id, "--to", "onnx", "--out", "net.onnx", "--no-latency")
    assert out.code == 0, out.err
    assert "onnxruntime against PyTorch: largest difference" in out.out
    scored = subprocess.run(
        [sys.executable, "-c", SCORE, "net.onnx", str(Path(name) / "test")], capture_output=True, text=True, check=True
    )
    right, count = json.loads(scored.stdout)
    assert count == 30
    assert abs(right - round(record.pruned.top1_test * count)) <= 2

    checked = typed("check", "l1", "--results", f"runs/{record.run_id}")
    assert checked.code == 0, checked.out
    assert "data: holds: mine" in checked.out
    assert "sizes: holds" in checked.out and "budget: holds: 2 dense_epochs" in checked.out
    assert "network: holds: weights, sizes and accuracy measured again: equal" in checked.out
    Path("mine.toml").rename("elsewhere.toml")  # a record alone runs no code: the track's file has to be here
    checked = typed("check", "l1", "--results", f"runs/{record.run_id}")
    assert checked.code == 0, checked.out
    assert "network: unknown: network or images are a user's own, and no track file here names the same" in checked.out


def test_a_notebook_gives_the_record_of_the_command_line(typed: Callable[..., Any], here: Path) -> None:
    typed("new", "track", "mine", "--network", "my_net.py:MyNet", "--weights", "colour.pt", "--images", "colour")
    ran = typed("run", "--track", "mine.toml", "--method", "l1", "--budget", "1ep", "--wandb", "off", "--json")
    assert ran.code == 0, ran.err
    typed_record = parse_record(json.dumps(json.loads(ran.out)[0]).encode(), "run")

    sys.path.insert(0, str(here))
    try:
        from my_net import MyNet  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(here))
        sys.modules.pop("my_net", None)
    network = MyNet()
    network.load_state_dict(torch.load("colour.pt"))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    result = bench.prune(network, "l1", target="macs=0.5", train="colour", budget="1ep", store="notebook-runs")

    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    record = result.record
    timed = {"latency", "peak_bytes"}
    for name in ("dense", "pruned"):
        ours, theirs = getattr(record, name), getattr(typed_record, name)
        assert ours.model_dump(exclude=timed) == theirs.model_dump(exclude=timed)
    for name in ("status", "ratios", "layers", "budget", "curve", "left_out", "seed", "target", "config"):
        assert getattr(record, name) == getattr(typed_record, name)
    for phase, spent in record.ledger.items():
        again = typed_record.ledger[phase]
        assert spent.model_dump(exclude={"device_seconds"}) == again.model_dump(exclude={"device_seconds"})
    assert record.manifest["data_fingerprint"] == typed_record.manifest["data_fingerprint"]

    assert result.network.stem.out_channels == next(x.width_after for x in record.layers if x.name == "stem")
    assert result.curve == record.curve
    shown, page = result._repr_html_(), Path("notebook-runs/page")
    assert not page.exists()
    write_leaderboard([record], [], page)
    whole = (page / f"track-{record.track}.html").read_text()
    row = re.search(r"<tr><th scope=.row.>.*?l1.*?</tr>", shown, re.DOTALL)
    assert row is not None and re.sub(r"<th.*?</th>", "", row[0]) in re.sub(r"<th.*?</th>", "", whole)
    assert "<script" not in shown and "<a " not in shown
    assert repr(result).count("\n") == 0
    again = bench.prune(network, "l1", target="macs=0.5", train="colour", budget="1ep", store="notebook-runs")
    assert again.record == record  # done already
