"""Plugins in a package of their own: installed by pip, found by their entry points, run and listed like the others."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli.new_files import new_method

PARTS = '''
import torch
from torch import nn

from bench.data.base import Dataset, Images
from bench.networks.base import Network, NetworkSpec


class Stripes(Dataset):
    """Bright columns: the label is where."""

    name = "stripes"
    summary = "a bright column on a dark square"
    reference = "made for a test"
    channels, size, classes = 1, 8, 4
    mean, std = (0.1,), (0.3,)

    def load(self, folder):
        labels = torch.arange(400) % self.classes
        pixels = torch.zeros(400, 1, 8, 8, dtype=torch.uint8)
        pixels[torch.arange(400), 0, :, 2 * labels] = 255
        return Images(pixels, labels), Images(pixels[:100], labels[:100])


class TwoLayers(Network):
    """A convolution and a linear layer."""

    name = "two-layers"
    summary = "a convolution of 16 and a linear layer"
    reference = "made for a test"
    input = NetworkSpec(channels=1, size=8, classes=4)

    def construct(self, spec):
        return nn.Sequential(
            nn.Conv2d(spec.channels, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * (spec.size - 2) ** 2, spec.classes)
        )
'''
TRACK = """
summary = "For a test."
dataset = "stripes"
network = "two-layers"
floor = 0.5
tolerance = 0.1
threads = 1
targets = ["macs=0.5"]

[validation]
images = 100

[dense]
epochs = 4
learning_rate = 0.05
batch_size = 32

[finetune]
learning_rate = 0.05
batch_size = 32

[budget]
dense_epochs = 6
"""
OTHERS = """
[project.entry-points."bench.datasets"]
stripes = "visitor_parts:Stripes"

[project.entry-points."bench.networks"]
two-layers = "visitor_parts"
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that a package with a method, a data set and a network was installed into, and one that is broken."""
    root = tmp_path_factory.mktemp("packages")
    new_method("visitor", folder=root / "good")
    (root / "good" / "visitor_parts.py").write_text(PARTS)
    settings = root / "good" / "pyproject.toml"
    settings.write_text(
        settings.read_text().replace('["bench_visitor"]', '["bench_visitor", "visitor_parts"]') + OTHERS
    )

    new_method("shaky", folder=root / "bad")
    (root / "bad" / "bench_shaky.py").write_text("import a_module_that_nobody_has")
    for name in ("good", "bad"):
        pip(str(root / name), root / "target")
    return root / "target"


def test_a_method_a_data_set_and_a_network_from_a_package_make_a_run(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(TRACK)
    words = [
        "--method",
        "visitor",
        "--track",
        "mine.toml",
        "--wandb",
        "off",
        "--device",
        "cpu",
        "--memory",
        "none",
        "--json",
    ]
    done = bench(installed, tmp_path, "run", *words)
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(done.stdout)
    assert (record["status"], record["method"]) == ("ok", "visitor")
    assert (record["track_fields"]["dataset"], record["track_fields"]["network"]) == ("stripes", "two-layers")
    assert record["layers"][0]["width_before"] == 16
    assert record["pruned"]["macs"] < 0.6 * record["dense"]["macs"]


def test_they_are_listed_and_a_broken_plugin_is_named_beside_them(installed: Path, tmp_path: Path) -> None:
    done = bench(installed, tmp_path, "list", "methods", "--json")
    assert done.returncode == 0
    assert {"visitor", "l1"} <= {row["name"] for row in json.loads(done.stdout)}
    assert "not usable: shaky (bench_shaky): ModuleNotFoundError: No module named 'a_module_that" in done.stderr
    done = bench(installed, tmp_path, "list", "datasets", "--json")
    assert "stripes" in {row["name"] for row in json.loads(done.stdout)}
    assert done.stderr == ""
    assert "two-layers" in bench(installed, tmp_path, "list", "networks").stdout


def test_asking_for_the_broken_one_says_why_it_is_not_there(installed: Path, tmp_path: Path) -> None:
    done = bench(installed, tmp_path, "check", "shaky")
    assert done.returncode == 2
    assert "could not be imported: shaky (bench_shaky): ModuleNotFoundError" in done.stderr


def pip(package: str, target: Path) -> None:
    words = ["install", "-q", "--no-deps", "--no-index", "--no-build-isolation", "--target", str(target), package]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True, capture_output=True, text=True)


def bench(installed: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command, with the package on Python's path."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "COLUMNS": "200"}
    code = "from bench.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *words], cwd=folder, env=environment, capture_output=True, text=True
    )
