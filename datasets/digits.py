"""scikit-learn's bundled handwritten digits, at MNIST's shape: real data without a download."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bench.data.base import Dataset, Images
from bench.data.stratify import stratified_draw

if TYPE_CHECKING:
    from torch import Tensor

_TEST_IMAGES = 400
_TEST_SEED = 1797
_DARKEST = 16


def enlarged(images: "Tensor", size: int) -> "Tensor":
    """Square images of 0..16, int64 [N, s, s], as uint8 [N, size, size] of 0..255.

    Bilinear with half-pixel centres and clamped edges. The weights are whole numbers over 2 * size, so all is
    integer arithmetic with one rounding at the end: the same bytes on any machine.
    """
    import torch

    stored = images.shape[-1]
    whole = 2 * size
    weights = torch.zeros(size, stored, dtype=torch.int64)
    for out in range(size):
        place = (2 * out + 1) * stored - size  # in units of 1 / whole of a stored pixel
        left, part = divmod(place, whole)
        weights[out, max(left, 0)] += whole - part
        weights[out, min(left + 1, stored - 1)] += part
    scaled = weights @ images @ weights.T * 255
    unit = _DARKEST * whole * whole
    return ((scaled + unit // 2) // unit).to(torch.uint8)


class Digits(Dataset):
    """1,397 training and 400 test images, 1x28x28, labels 0 to 9, enlarged from 8x8 with values 0 to 16.

    The test images are a stratified draw (`bench.data.stratify.stratified_draw`, seed 1797) from all, so both
    parts hold the same writers, unlike in the original collection. Mean and standard deviation:
    `python -c "from bench.data.splits import statistics; print(statistics('digits', '.'))"`.
    """

    name = "digits"
    summary = "scikit-learn's 1,797 handwritten digits, scaled to 28x28 grey; bundled, no download."
    reference = "Alpaydin, Kaynak: Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998"
    channels, size, classes = 1, 28, 10
    mean: ClassVar[tuple[float, ...]] = (0.3055,)
    std: ClassVar[tuple[float, ...]] = (0.3247,)

    def load(self, folder: Path) -> tuple[Images, Images]:
        """Training and test images; `folder` is not touched."""
        import torch
        from sklearn.datasets import load_digits

        stored = load_digits()
        labels = torch.from_numpy(stored.target).long()
        pixels = enlarged(torch.from_numpy(stored.images).long(), self.height)
        pixels = pixels[:, None].repeat(1, self.channels, 1, 1)
        test = torch.zeros(len(labels), dtype=torch.bool)
        drawn, _ = stratified_draw(labels.tolist(), _TEST_IMAGES, _TEST_SEED)
        test[drawn] = True
        return Images(pixels[~test], labels[~test]), Images(pixels[test], labels[test])
