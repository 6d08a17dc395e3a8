"""What cannot work ends with code 2, a message that names the next action, and nothing left behind."""

import argparse
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

NETWORK, WEIGHTS = "my_net.py:MyNet", "colour.pt"


class Bomb:
    """A pickle that runs something when it is loaded."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("exploded"),)


def a_pickle(here: Path) -> dict[str, str]:
    (here / "bomb.pt").write_bytes(pickle.dumps(Bomb()))
    return {"weights": "bomb.pt"}


def a_whole_network(here: Path) -> dict[str, str]:
    torch.save(nn.Linear(3, 3), here / "whole.pt")
    return {"weights": "whole.pt"}


def a_pickle_called_safetensors(here: Path) -> dict[str, str]:
    (here / "bomb.safetensors").write_bytes(pickle.dumps(Bomb()))
    return {"weights": "bomb.safetensors"}


def weights_of_another_shape(here: Path) -> dict[str, str]:
    return {"weights": "grey.pt"}


def weights_of_another_network(here: Path) -> dict[str, str]:
    torch.save(nn.Linear(3, 3).state_dict(), here / "other.pt")
    return {"weights": "other.pt"}


def weights_that_are_not_finite(here: Path) -> dict[str, str]:
    tensors = torch.load(here / WEIGHTS)
    tensors["fc.bias"][0] = torch.nan
    torch.save(tensors, here / "nan.pt")
    return {"weights": "nan.pt"}


def no_weights(here: Path) -> dict[str, str]:
    return {"weights": "none.pt"}


def a_file_that_raises(here: Path) -> dict[str, str]:
    (here / "broken.py").write_text("import os\nraise RuntimeError('needs a licence')\n")
    return {"network": "broken.py:Net"}


def a_file_that_exits(here: Path) -> dict[str, str]:
    (here / "leaves.py").write_text("import sys\nsys.exit(0)\n")
    return {"network": "leaves.py:Net"}


def a_file_with_a_mistake(here: Path) -> dict[str, str]:
    (here / "typo.py").write_text("x = 1\nclass Net(\n")
    return {"network": "typo.py:Net"}


def another_class(here: Path) -> dict[str, str]:
    return {"network": "my_net.py:MyNett"}


def no_class(here: Path) -> dict[str, str]:
    return {"network": "my_net.py"}


def another_number_of_classes(here: Path) -> dict[str, str]:
    shutil.copytree(here / "colour/train/dark", here / "colour/train/more")
    shutil.copytree(here / "colour/test/dark", here / "colour/test/more")
    return {}


def an_image_that_is_none(here: Path) -> dict[str, str]:
    (here / "colour/train/dark/03.png").write_text("not an image")
    return {}


def an_image_that_is_cut_off(here: Path) -> dict[str, str]:
    path = here / "colour/test/dark/03.png"
    path.write_bytes(path.read_bytes()[:-200])
    return {}


def an_empty_class(here: Path) -> dict[str, str]:
    shutil.rmtree(here / "colour/train/dark")
    (here / "colour/train/dark").mkdir()
    return {}


def one_image(here: Path) -> dict[str, str]:
    (here / "one/cat").mkdir(parents=True)
    shutil.copy(here / "colour/train/dark/03.png", here / "one/cat")
    return {"images": "one"}


def one_image_a_class(here: Path) -> dict[str, str]:
    for name in ("bright", "dark", "striped"):
        (here / "three" / name).mkdir(parents=True)
        shutil.copy(here / f"colour/train/{name}/03.png", here / "three" / name)
    return {"images": "three"}


def labels_that_differ(here: Path) -> dict[str, str]:
    (here / "colour/test/dark").rename(here / "colour/test/darker")
    return {}


def labels_that_differ_in_arrays(here: Path) -> dict[str, str]:
    images = np.zeros((12, 48, 80, 3), np.uint8)
    labels = np.arange(12) % 3
    np.savez(here / "a.npz", x_train=images, y_train=labels, x_test=images, y_test=labels + 1)
    return {"images": "a.npz"}


def arrays_of_objects(here: Path) -> dict[str, str]:
    np.savez(here / "b.npz", images=np.array([Bomb()], dtype=object), labels=np.array([0]))
    return {"images": "b.npz"}


def pythons_own_module(here: Path) -> dict[str, str]:
    return {"network": "os:system"}


def a_file_of_a_package(here: Path) -> dict[str, str]:
    (here / "parts").mkdir()
    (here / "parts/__init__.py").write_text("")
    (here / "parts/net.py").write_text("from .blocks import Net\n")
    return {"network": "parts/net.py:Net"}


def two_outputs(here: Path) -> dict[str, str]:
    more = "\nclass Two(MyNet):\n    def forward(self, images):\n        return super().forward(images), images\n"
    (here / "two.py").write_text((here / "my_net.py").read_text() + more)
    return {"network": "two.py:Two"}


def a_checkpoint_with_a_key_of_its_own(here: Path) -> dict[str, str]:
    torch.save({"ema": torch.load(here / WEIGHTS), "epoch": 3}, here / "last.ckpt")
    return {"weights": "last.ckpt"}


def a_checkpoint_with_its_arguments(here: Path) -> dict[str, str]:
    torch.save({"state_dict": torch.load(here / WEIGHTS), "args": argparse.Namespace(lr=0.1)}, here / "last.ckpt")
    return {"weights": "last.ckpt"}


def labels_from_one(here: Path) -> dict[str, str]:
    np.savez(here / "c.npz", images=np.zeros((12, 48, 80, 3), np.uint8), labels=np.arange(12) % 3 + 1)
    return {"images": "c.npz"}


def labels_in_columns(here: Path) -> dict[str, str]:
    np.savez(here / "c.npz", images=np.zeros((12, 48, 80, 3), np.uint8), labels=np.eye(3)[np.arange(12) % 3])
    return {"images": "c.npz"}


def a_name_that_training_has_not(here: Path) -> dict[str, str]:
    images, names = np.zeros((9, 48, 80, 3), np.uint8), np.array(["cat", "dog", "elk"])[np.arange(9) % 3]
    np.savez(
        here / "c.npz", x_train=images, y_train=names, x_test=images, y_test=np.where(names == "elk", "eel", names)
    )
    return {"images": "c.npz"}


def floats_of_bytes(here: Path) -> dict[str, str]:
    images = np.random.default_rng(0).integers(0, 256, (12, 48, 80, 3)).astype(np.float32)
    np.savez(here / "c.npz", images=images, labels=np.arange(12) % 3)
    return {"images": "c.npz"}


def backslashes(here: Path) -> dict[str, str]:
    return {"images": "colour\\train"}


def images_of_many_sizes(here: Path) -> dict[str, str]:
    shutil.copy(here / "grey/train/dark/03.png", here / "colour/train/dark/99.png")
    return {}


def no_images(here: Path) -> dict[str, str]:
    return {"images": "nowhere"}


HOSTILE = {
    a_pickle: "bomb.pt: not a state_dict.*torch.save\\(network.state_dict\\(\\)",
    a_whole_network: "whole.pt: not a state_dict.*Save the tensors",
    a_pickle_called_safetensors: "bomb.safetensors: not a safetensors file",
    weights_of_another_shape: r"of another shape: stem.weight is \(8, 1, 3, 3\) in the file and \(8, 3, 3, 3\)",
    weights_of_another_network: "not in the file: stem.weight.*not in the network: weight; bias",
    weights_that_are_not_finite: "not finite: fc.bias",
    no_weights: "there is no such file. Give the file",
    a_file_that_raises: "broken.py, line 2: RuntimeError: needs a licence. Correct it",
    a_file_that_exits: "leaves.py, line 2: SystemExit",
    a_file_with_a_mistake: "typo.py, line 2: SyntaxError",
    another_class: "Did you mean 'MyNet'",
    no_class: "Write my_net.py:CLASS",
    another_number_of_classes: r"\(2, 3\) for 2 images, and there are 4 classes.*--set KEY=4",
    an_image_that_is_none: "colour/train/dark/03.png cannot be read as an image.*intact copy",
    an_image_that_is_cut_off: "colour/test/dark/03.png cannot be read as an image",
    an_empty_class: "colour/train/dark: no image there.*take the folder away",
    one_image: "1 class folders, and two or more are needed",
    one_image_a_class: "class 0 has 1 images, and 3 or more are needed.*Add images",
    labels_that_differ: "the classes of train and test differ: .*test has no 'dark'",
    labels_that_differ_in_arrays: "labels 3 are in test and not in train",
    arrays_of_objects: "not an .npz file of plain arrays",
    pythons_own_module: "os is Python's own module. Give FILE.py:NAME",
    a_file_of_a_package: "by its relative import.*from the folder that holds the package: parts.net:Net",
    two_outputs: "gives a tuple, not one tensor .*Wrap it",
    a_checkpoint_with_a_key_of_its_own: r"a dict of ema, epoch, .*torch.save.torch.load.'last.ckpt'.*'ema'",
    a_checkpoint_with_its_arguments: "it holds argparse.Namespace.*torch.save.network.state_dict",
    labels_from_one: "labels go from 1 to 3, and none is 0. Number the classes from 0 on",
    labels_in_columns: "labels.argmax.1. of one column a class",
    a_name_that_training_has_not: "no image of 'eel' is for training: there are cat, dog, elk",
    floats_of_bytes: "images.astype.'uint8'",
    backslashes: "there is no such folder. Write 'colour/train'",
    images_of_many_sizes: "are of 2 sizes .most often 48x80.*--size",
    no_images: "there is no such folder. Give a folder",
}


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda each: each.__name__)
def test_what_cannot_work_is_refused_and_leaves_nothing(
    hostile: Callable[[Path], dict[str, str]], typed: Callable[..., Any], here: Path
) -> None:
    import re

    changed = {"network": NETWORK, "weights": WEIGHTS, "images": "colour", **hostile(here)}
    before = sorted(here.rglob("*"))
    answer = typed("new", "track", "mine", *(word for key, value in changed.items() for word in (f"--{key}", value)))
    assert answer.code == 2, answer.out
    assert re.search(HOSTILE[hostile], answer.err, re.DOTALL), answer.err
    assert "Traceback" not in answer.err
    assert sorted(here.rglob("*")) == before


def test_damaged_images_that_are_streamed_are_all_named_before_there_is_a_track(
    typed: Callable[..., Any], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "cache"))
    monkeypatch.setattr("bench.own.propose.fits_in_memory", lambda _images, _shape: False)
    for number in (3, 7):
        path = here / f"colour/train/dark/{number:02}.png"
        path.write_bytes(path.read_bytes()[:-200])
    words = ("new", "track", "mine", "--network", NETWORK, "--weights", WEIGHTS, "--images", "colour")
    answer = typed(*words)
    assert answer.code == 2
    assert "2 of 60 files cannot be read as images: " in answer.err
    assert "dark/03.png" in answer.err and "dark/07.png" in answer.err and "Put intact copies" in answer.err
    assert not Path("mine.toml").exists()
    shutil.copy(here / "colour/train/dark/01.png", here / "colour/train/dark/03.png")
    shutil.copy(here / "colour/train/dark/01.png", here / "colour/train/dark/07.png")
    assert typed(*words).code == 0
    assert "streamed = true" in Path("mine.toml").read_text()


def test_a_track_whose_images_are_gone_says_so_before_a_run_begins(typed: Callable[..., Any], here: Path) -> None:
    words = ("new", "track", "mine", "--network", NETWORK, "--weights", WEIGHTS, "--images", "colour")
    assert typed(*words).code == 0
    assert "mine.toml is there already" in typed(*words).err
    shutil.move(here / "colour", here / "elsewhere")
    answer = typed("run", "--track", "mine.toml", "--method", "l1", "--wandb", "off")
    assert answer.code == 2
    assert "there is no such folder" in answer.err
    assert not Path("runs").exists()
