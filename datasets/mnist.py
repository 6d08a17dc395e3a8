"""MNIST: handwritten digits, as published, through torchvision's layout."""

from pathlib import Path

from bench.data.base import Dataset, Images
from bench.datasets._files import Published, contents

_DIGESTS = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
_IMAGE_HEADER, _LABEL_HEADER = 16, 8


def _fetch(folder: Path) -> None:
    from torchvision.datasets import MNIST

    MNIST(folder, download=True)


_PUBLISHED = Published(
    name="mnist",
    folder="MNIST/raw",
    digests=_DIGESTS,
    archive="MNIST/raw/{name}.gz",
    url="https://ossci-datasets.s3.amazonaws.com/mnist/train-labels-idx1-ubyte.gz",
    fetch=_fetch,
)


class Mnist(Dataset):
    """60,000 training and 10,000 test images, 1x28x28, labels 0 to 9.

    The four files may lie in `MNIST/raw` unpacked or as `.gz`. Their MD5s here are of the unpacked content
    of the `.gz` files whose MD5s torchvision checks. Mean and standard deviation:
    `python -c "from bench.data.splits import statistics; print(statistics('mnist', 'DIR'))"`.
    """

    name = "mnist"
    summary = "MNIST: 70,000 handwritten digits, 28x28 grey."
    reference = "LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition, 1998"
    channels, size, classes = 1, 28, 10
    mean, std = (0.1307,), (0.3081,)

    def missing(self, folder: Path) -> tuple[str, ...]:
        """Names of the files that are there neither as they are nor packed; they are downloaded when needed."""
        return tuple(_PUBLISHED.missing(folder))

    def load(self, folder: Path) -> tuple[Images, Images]:
        """Training and test images, in stored order; see `Dataset.load`."""
        import torch

        files = contents(folder, _PUBLISHED)

        def images(part: str) -> Images:
            pixels = bytearray(files[f"{part}-images-idx3-ubyte"])
            labels = bytearray(files[f"{part}-labels-idx1-ubyte"])
            return Images(
                pixels=torch.frombuffer(pixels, dtype=torch.uint8, offset=_IMAGE_HEADER).view(-1, 1, 28, 28),
                labels=torch.frombuffer(labels, dtype=torch.uint8, offset=_LABEL_HEADER).long(),
            )

        return images("train"), images("t10k")
