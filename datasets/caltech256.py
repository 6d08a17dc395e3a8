"""Caltech-256: a folder that the user has, streamed."""

from pathlib import Path
from typing import ClassVar

from bench.data.base import ImageFiles
from bench.data.stratify import stratified_draw
from bench.datasets._folders import ByClass, ImageFolders

_SEED = 256


class Caltech256(ImageFolders):
    """30,607 images of 257 classes (clutter is one), 60 of each for training and the others for test.

    There is no official split. Here the images of a class, sorted by name, are drawn without regard to that order,
    which is the order of collection: the training images are the places that
    `bench.data.stratify.stratified_draw([0] * images, 60, seed=256)` draws. 60 a class is the largest number that is
    usual.
    Labels 0 to 256 are the sorted names of the class folders. Mean and standard deviation are ImageNet's, as usual.
    """

    name = "caltech256"
    summary = "Caltech-256: 30,607 photographs of 257 classes at 224x224; streamed from a folder you have."
    reference = "Griffin, Holub, Perona: Caltech-256 Object Category Dataset, 2007"
    classes = 257
    per_class: ClassVar[int] = 60
    counts = (15_420, 15_187)
    about = "It is Caltech-256 (256_ObjectCategories.tar, 1.2 GB), which data.caltech.edu gives to everybody."
    layout = (
        "DIR/256_ObjectCategories/<NNN.name>/*.jpg   one folder a class, 001.ak47 to 257.clutter",
        "(or below DIR/caltech256, where torchvision puts it)",
    )

    def load(self, folder: Path) -> tuple[ImageFiles, ImageFiles]:
        """Training and test images; see `Dataset.load`."""
        part = "256_ObjectCategories"
        if not (folder / part).is_dir() and (folder / "caltech256" / part).is_dir():
            part = f"caltech256/{part}"
        train: ByClass = {}
        test: ByClass = {}
        for name, images in self.by_class(folder, part).items():
            if len(images) <= self.per_class:
                raise self.refused(
                    folder, f"{folder / part / name} holds {len(images)} images; more than {self.per_class} are needed"
                )
            drawn, rest = stratified_draw([0] * len(images), self.per_class, _SEED)
            train[name], test[name] = ([images[place] for place in sorted(places)] for places in (drawn, rest))
        return self.parts(folder, train, test)
