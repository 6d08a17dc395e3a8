"""Crop and flip of training images, batched on the images' device.

The random numbers of an epoch come from a CPU generator, all at once: they are the same for every device,
and a resumed epoch finds those of its next batch by slicing. Pixels stay uint8, so the result is exact.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Moves", "draw_moves", "moved", "padding"]


def padding(size: int) -> int:
    """Pixels of zero padding on each side for `crop`: an eighth of the size, down to an even number.

    4 at size 32 and 2 at size 28.
    """
    return 2 * (size // 16)


@dataclass(frozen=True)
class Moves:
    """What happens to each image of an epoch, by its place in the epoch's order.

    Attributes:
        down, right: int64 [N], corner of the crop in the padded image, 0 to 2 * padding; None without `crop`.
        mirrored: bool [N], whether the image is flipped left to right; None without `flip`.
    """

    down: Tensor | None = None
    right: Tensor | None = None
    mirrored: Tensor | None = None

    def __getitem__(self, part: slice) -> "Moves":
        return Moves(*(None if each is None else each[part] for each in (self.down, self.right, self.mirrored)))


def draw_moves(
    images: int, size: int, augment: tuple[str, ...], generator: torch.Generator, device: torch.device
) -> Moves:
    """Random moves for so many images of `size` pixels: any crop equally likely, every second one flipped."""
    down = right = mirrored = None
    if "crop" in augment:
        shifts = torch.randint(2 * padding(size) + 1, (2, images), generator=generator)
        down, right = shifts.to(device)
    if "flip" in augment:
        mirrored = (torch.randint(2, (images,), generator=generator) == 1).to(device)
    return Moves(down, right, mirrored)


def moved(pixels: Tensor, moves: Moves) -> Tensor:
    """The images cropped and flipped.

    Args:
        pixels: [N, size, size, channels], channels last.
        moves: of these N images.

    Returns:
        The same shape and type, contiguous. One gather does both.
    """
    if moves.down is None and moves.mirrored is None:
        return pixels
    images, size, _, channels = pixels.shape
    steps = torch.arange(size, device=pixels.device)
    rows = columns = steps.expand(images, size)
    width = size
    if moves.mirrored is not None:
        columns = torch.where(moves.mirrored[:, None], size - 1 - steps, columns)
    if moves.down is not None and moves.right is not None:
        margin = padding(size)
        width += 2 * margin
        pixels = F.pad(pixels, (0, 0, margin, margin, margin, margin))
        rows, columns = rows + moves.down[:, None], columns + moves.right[:, None]
    rows = rows + width * torch.arange(images, device=pixels.device)[:, None]
    places = rows[:, :, None] * width + columns[:, None, :]
    flat = pixels.reshape(-1, channels).index_select(0, places.reshape(-1))
    return flat.view(images, size, size, channels)
