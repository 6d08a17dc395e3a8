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
    """Pixels of zero padding at either end of a side for `crop`: an eighth of its pixels, down to an even number.

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
    images: int, size: tuple[int, int], augment: tuple[str, ...], generator: torch.Generator, device: torch.device
) -> Moves:
    """Random moves for so many images of `size`, (height, width): any crop equally likely, every second one flipped."""
    down = right = mirrored = None
    if "crop" in augment:
        rows, columns = (2 * padding(side) + 1 for side in size)
        if rows == columns:
            down, right = torch.randint(rows, (2, images), generator=generator).to(device)
        else:
            down = torch.randint(rows, (images,), generator=generator).to(device)
            right = torch.randint(columns, (images,), generator=generator).to(device)
    if "flip" in augment:
        mirrored = (torch.randint(2, (images,), generator=generator) == 1).to(device)
    return Moves(down, right, mirrored)


def moved(pixels: Tensor, moves: Moves) -> Tensor:
    """The images cropped and flipped.

    Args:
        pixels: [N, height, width, channels], channels last.
        moves: of these N images.

    Returns:
        The same shape and type, contiguous. One gather does both.
    """
    if moves.down is None and moves.mirrored is None:
        return pixels
    images, height, width, channels = pixels.shape
    rows = torch.arange(height, device=pixels.device).expand(images, height)
    across = torch.arange(width, device=pixels.device)
    columns = across.expand(images, width)
    tall, wide = height, width
    if moves.mirrored is not None:
        columns = torch.where(moves.mirrored[:, None], width - 1 - across, columns)
    if moves.down is not None and moves.right is not None:
        above, beside = padding(height), padding(width)
        tall, wide = height + 2 * above, width + 2 * beside
        pixels = F.pad(pixels, (0, 0, beside, beside, above, above))
        rows, columns = rows + moves.down[:, None], columns + moves.right[:, None]
    rows = rows + tall * torch.arange(images, device=pixels.device)[:, None]
    places = rows[:, :, None] * wide + columns[:, None, :]
    flat = pixels.reshape(-1, channels).index_select(0, places.reshape(-1))
    return flat.view(images, height, width, channels)
