"""A small vision transformer for images of CIFAR's size, built from timm's blocks."""

from typing import ClassVar

from torch import nn

from bench.errors import UsageError
from bench.networks.base import Network, NetworkSpec, reset_modules

__all__ = ["ViTTiny32"]

_PATCH = 4


class ViTTiny32(Network):
    """timm's VisionTransformer with patches of 4x4: 6 blocks of width 64, 4 heads, MLPs of 128.

    Attention heads and MLP neurons may be pruned; the width of 64 runs through layer normalisations and stays. The form
    is the paper's, the size this project's: small enough for a CPU.
    """

    name = "vit-tiny32"
    summary = "a small vision transformer for 32x32: patches of 4, 6 blocks of width 64, 4 heads"
    reference = "Dosovitskiy et al. 2021, An image is worth 16x16 words, in timm's form"
    input = NetworkSpec(channels=3, size=32, classes=10)
    prunable: ClassVar[tuple[str, ...] | None] = ("blocks.*.attn.qkv", "blocks.*.mlp.fc1")

    def construct(self, spec: NetworkSpec) -> nn.Module:
        from timm.models.vision_transformer import VisionTransformer

        if spec.height % _PATCH or spec.width % _PATCH:
            raise UsageError(
                f"vit-tiny32 cuts images into patches of {_PATCH}x{_PATCH}, which {spec.height}x{spec.width} is no "
                "multiple of. Scale the images."
            )
        return VisionTransformer(
            img_size=(spec.height, spec.width),
            patch_size=_PATCH,
            in_chans=spec.channels,
            num_classes=spec.classes,
            embed_dim=64,
            depth=6,
            num_heads=4,
            mlp_ratio=2,
        )

    def initialise(self, network: nn.Module) -> None:
        """Every module resets itself, then timm has its own scheme: truncated normals, class token included."""
        reset_modules(network)
        network.init_weights()  # type: ignore[operator]
