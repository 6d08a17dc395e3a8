"""CIFAR-10: small colour photographs, as published, through torchvision's layout."""

import pickle
from pathlib import Path

from bench.data.base import Dataset, Images
from bench.datasets._files import Published, contents

_TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
_TEST = ("test_batch",)
_DIGESTS = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}


def _fetch(folder: Path) -> None:
    from torchvision.datasets import CIFAR10

    CIFAR10(folder, download=True)


_PUBLISHED = Published(
    name="cifar10",
    folder="cifar-10-batches-py",
    digests=_DIGESTS,
    archive="cifar-10-python.tar.gz",
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    fetch=_fetch,
)


class Cifar10(Dataset):
    """50,000 training and 10,000 test images, 3x32x32.

    Labels 0 to 9: airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck. The files may lie in
    `cifar-10-batches-py`, or packed as `cifar-10-python.tar.gz` in the data folder (slower to read).
    A data set that derives from this one has the images whose labels are below its `classes`.

    Mean and standard deviation:
    `python -c "from bench.data.splits import statistics; print(statistics('cifar10', 'DIR'))"`.
    """

    name = "cifar10"
    summary = "CIFAR-10: 60,000 colour photographs of ten things, 32x32."
    reference = "Krizhevsky, Nair, Hinton: Learning Multiple Layers of Features from Tiny Images, 2009"
    channels, size, classes = 3, 32, 10
    mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    flip = True

    def missing(self, folder: Path) -> tuple[str, ...]:
        """Names of the files that are there neither as they are nor packed; they are downloaded when needed."""
        return tuple(_PUBLISHED.missing(folder))

    def load(self, folder: Path) -> tuple[Images, Images]:
        """Training and test images, in stored order; see `Dataset.load`."""
        import torch

        files = contents(folder, _PUBLISHED)

        def images(names: tuple[str, ...]) -> Images:
            batches = [pickle.loads(files[name], encoding="latin1") for name in names]
            pixels = torch.cat([torch.from_numpy(batch["data"]) for batch in batches]).view(-1, 3, 32, 32)
            labels = torch.tensor([label for batch in batches for label in batch["labels"]])
            if self.classes == Cifar10.classes:
                return Images(pixels, labels)
            kept = labels < self.classes
            return Images(pixels[kept], labels[kept])

        return images(_TRAIN), images(_TEST)
