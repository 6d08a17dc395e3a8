"""What a new user has: a residual network in a file, its weights, and folders of PNG images, in an empty folder."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from bench.cli.main import main
from bench.plugins.imported import imported

NETWORK = """
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, maps):
        return torch.relu(maps + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(maps))))))


class MyNet(nn.Module):
    def __init__(self, channels=3, classes=3, width=8):
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, stride=2, padding=1)
        self.block1 = Block(width)
        self.block2 = Block(width)
        self.fc = nn.Linear(width, classes)

    def forward(self, images):
        return self.fc(self.block2(self.block1(torch.relu(self.stem(images)))).mean((2, 3)))
"""

CLASSES = ("bright", "dark", "striped")


def picture(label: int, height: int, width: int, channels: int, draw: np.random.Generator) -> np.ndarray:
    """A noisy image of a class, uint8 [height, width, channels]."""
    base = np.full((height, width, channels), (150, 60, 105)[label])
    if label == 2:
        base[:, ::4] += 60
    return (base + draw.integers(-40, 40, base.shape)).clip(0, 255).astype(np.uint8)


def write_images(folder: Path, count: int, size: tuple[int, int], channels: int, seed: int = 0) -> None:
    """`count` PNG images a class below `folder`."""
    draw = np.random.default_rng(seed)
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = picture(label, *size, channels, draw)
            Image.fromarray(pixels if channels == 3 else pixels[:, :, 0]).save(folder / name / f"{number:02}.png")


def read_images(folder: Path) -> tuple[Tensor, Tensor]:
    """Pixels in [0, 1], [N, C, H, W], and labels."""
    pixels, labels = [], []
    for label, name in enumerate(CLASSES):
        for path in sorted((folder / name).iterdir()):
            image = np.asarray(Image.open(path))
            pixels.append(torch.from_numpy(image.reshape(*image.shape[:2], -1).copy()).permute(2, 0, 1))
            labels.append(label)
    return torch.stack(pixels).float() / 255, torch.tensor(labels)


def train_weights(folder: Path, images: Path, channels: int, out: Path) -> None:
    """Trains `MyNet` for a few steps on normalised images, and saves its state_dict."""
    pixels, labels = read_images(images)
    mean, std = pixels.mean((0, 2, 3), keepdim=True), pixels.std((0, 2, 3), keepdim=True)
    pixels = (pixels - mean) / std
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = imported("my_net.py:MyNet", folder)(channels=channels)
        optimiser = torch.optim.Adam(network.parameters(), 0.02)
        for _ in range(60):
            batch = torch.randint(len(labels), (24,))
            optimiser.zero_grad()
            functional.cross_entropy(network(pixels[batch]), labels[batch]).backward()
            optimiser.step()
    torch.save(network.state_dict(), out)


@pytest.fixture(scope="session")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """my_net.py, colour.pt and colour/{train,test} of 3x48x80, grey.pt and grey/{train,val,test} of 1x28x28."""
    folder = tmp_path_factory.mktemp("kit")
    (folder / "my_net.py").write_text(NETWORK)
    for name, channels, size, parts in (
        ("colour", 3, (48, 80), {"train": 20, "test": 10}),
        ("grey", 1, (28, 28), {"train": 16, "val": 6, "test": 10}),
    ):
        for seed, (part, count) in enumerate(parts.items()):
            write_images(folder / name / part, count, size, channels, seed)
        train_weights(folder, folder / name / "train", channels, folder / f"{name}.pt")
    return folder


@pytest.fixture
def here(kit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the kit, as the present folder."""
    folder = tmp_path / "here"
    shutil.copytree(kit, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")
    for name in [name for name in os.environ if name.startswith("WANDB_")] + ["BENCH_DATA"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("bench.runner.run.LATENCY_SECONDS", 0.01)
    return folder


@dataclass
class Answer:
    """What a command did."""

    code: int
    out: str
    err: str


@pytest.fixture
def typed(here: Path, capfd: pytest.CaptureFixture[str], copied_nursery: None) -> Callable[..., Answer]:
    """`typed("new", "track", ...)`: in this process, in the copy of the kit."""

    def call(*words: str) -> Answer:
        with pytest.raises(SystemExit) as end:
            main(list(words))
        captured = capfd.readouterr()
        return Answer(int(end.value.code or 0), captured.out, captured.err)

    return call
