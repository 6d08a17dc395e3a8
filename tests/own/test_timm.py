"""timm's models from a weights file, the same way as a network in a file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from bench.records.store import read_records


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "settings", "group"),
    [("resnet18", {}, "layer1.0.conv1"), ("vit_tiny_patch16_224", {"img_size": (48, 80)}, "blocks.0.mlp.fc1")],
)
def test_timm_from_a_weights_file(
    model: str, settings: dict[str, Any], group: str, typed: Callable[..., Any], here: Path
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(timm.create_model(model, num_classes=3, **settings).state_dict(), "timm.pt")
    made = typed("new", "track", "mine", "--network", f"timm:{model}", "--weights", "timm.pt", "--images", "colour")
    assert made.code == 0, made.err
    assert group in made.out
    text = Path("mine.toml").read_text()
    Path("mine.toml").write_text(text.replace("floor = ", "floor = 0.0 # "))
    ran = typed(
        "run", "--track", "mine.toml", "--method", "l1", "--target", "macs=0.8", "--budget", "1ep", "--wandb", "off"
    )
    assert ran.code == 0, ran.err
    (record,), _ = read_records(Path("runs"))
    assert record.dense and record.pruned and record.ratios
    assert record.ratios.macs == pytest.approx(0.8, rel=0.02)
    assert record.ledger["dense"].macs == 0
    assert typed("export", record.run_id, "--no-latency").code == 0
