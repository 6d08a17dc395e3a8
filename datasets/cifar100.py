"""CIFAR-100: small colour photographs of a hundred things, as published, through torchvision's layout."""

import pickle
from pathlib import Path

from bench.data.base import Dataset, Images
from bench.datasets._files import Published, contents


def _fetch(folder: Path) -> None:
    from torchvision.datasets import CIFAR100

    CIFAR100(folder, download=True)


_PUBLISHED = Published(
    name="cifar100",
    folder="cifar-100-python",
    digests={"train": "16019d7e3df5f24257cddd939b257f8d", "test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    archive="cifar-100-python.tar.gz",
    url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    fetch=_fetch,
)


class Cifar100(Dataset):
    """50,000 training and 10,000 test images, 3x32x32, 500 and 100 a class.

    Labels 0 to 99 are the fine ones, in the order of their names: apple to worm. The files may lie in
    `cifar-100-python`, or packed as `cifar-100-python.tar.gz` in the data folder (slower to read). Mean and standard
    deviation: `python -c "from bench.data.splits import statistics; print(statistics('cifar100', 'DIR'))"`.
    """

    name = "cifar100"
    summary = "CIFAR-100: 60,000 colour photographs of a hundred things, 32x32."
    reference = "Krizhevsky, Nair, Hinton: Learning Multiple Layers of Features from Tiny Images, 2009"
    channels, size, classes = 3, 32, 100
    mean, std = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
    flip = True

    def missing(self, folder: Path) -> tuple[str, ...]:
        """Names of the files that are there neither as they are nor packed; they are downloaded when needed."""
        return tuple(_PUBLISHED.missing(folder))

    def load(self, folder: Path) -> tuple[Images, Images]:
        """Training and test images, in stored order; see `Dataset.load`."""
        import torch

        files = contents(folder, _PUBLISHED)

        def images(name: str) -> Images:
            stored = pickle.loads(files[name], encoding="latin1")
            return Images(
                pixels=torch.from_numpy(stored["data"]).view(-1, 3, 32, 32),
                labels=torch.tensor(stored["fine_labels"]),
            )

        return images("train"), images("test")
