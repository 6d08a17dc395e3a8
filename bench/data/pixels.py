"""One image of a user's own, in whatever form it comes, as a PIL image: grey or RGB."""

from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["as_image"]


def as_image(value: Any, where: str) -> "Image":
    """A PIL image, a uint8 array or tensor, or one of floats in [0, 1], as a PIL image (grey or RGB).

    Raises:
        DataError: something else; floats outside [0, 1] are normalised already, which is the track's to do.
    """
    import torch
    from PIL import Image

    if isinstance(value, Image.Image):
        return (
            value if value.mode in ("L", "RGB") else value.convert("L" if value.mode in ("1", "I;16", "LA") else "RGB")
        )
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
        value = value.transpose(1, 2, 0) if value.ndim == 3 and value.shape[0] in (1, 3) else value
    array = np.asarray(value)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        raise DataError(f"{where} has shape {array.shape}. An image [H, W], [H, W, 3] or [3, H, W] is needed.")
    if np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise DataError(
                f"{where} has values from {array.min():.3g} to {array.max():.3g}. Give images as they are, uint8 or "
                "floats in [0, 1]: the track's mean and std normalise them. Whole numbers from 0 to 255 in floats: "
                "images.astype('uint8')."
            )
        array = np.rint(array * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise DataError(f"{where} is of {array.dtype}. Give uint8, or floats in [0, 1].")
    return Image.fromarray(np.ascontiguousarray(array))
