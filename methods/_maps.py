"""Feature maps of channel groups: where they are seen, and scores by channel made of them."""

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from bench import ChannelGroup, Trial

__all__ = ["channel_scores", "map_layer", "rows_of"]

_ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.CELU, nn.SELU, nn.SiLU, nn.GELU, nn.Mish, nn.Hardswish,
    nn.Sigmoid, nn.Tanh, nn.Softplus,
)  # fmt: skip
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.modules.instancenorm._InstanceNorm)


def map_layer(network: nn.Module, layer: str) -> str:
    """The module whose output is the activation of a convolution: the activation module that follows it.

    Modules are followed in the order in which the network lists them, up to the next layer with weights. Where no
    activation is found (LeNet-5 has none after its convolutions; others call a function), it is the normalisation
    that follows, or the convolution itself.
    """
    names = [name for name, module in network.named_modules() if not list(module.children())]
    found = layer
    for name in names[names.index(layer) + 1 :]:
        module = network.get_submodule(name)
        if isinstance(module, _ACTIVATIONS):
            return name
        if isinstance(module, _NORMS):
            found = name
        elif not isinstance(module, nn.Identity | nn.Dropout):
            break
    return found


def channel_scores(
    trial: Trial, reduce: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]], images: int
) -> dict[str, Tensor]:
    """Scores [width] by group name, from what `reduce` makes of maps [N, C, H, W] by module name: a tensor [C] each.

    The maps are those of the first training images, as many as the search's share pays for (`images` at most), with
    maps of one pixel for linear layers. A layer's channels may be several maps, and a group several layers: scores
    are summed over both.

    Raises:
        BudgetSpent: not one image can be paid for.
    """
    at = {layer: map_layer(trial.network, layer) for group in trial.surgery.groups for layer in group.layers}
    while images > 1 and trial.price(images, recalibrate=False) > trial.ledger.search_left:
        images = images // 2

    def as_maps(seen: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return reduce({name: maps if maps.dim() == 4 else maps[..., None, None] for name, maps in seen.items()})

    found = trial.probe(as_maps, images=images, at=tuple(dict.fromkeys(at.values())))
    return {
        group.name: sum(found[at[layer]][rows_of(group, layer)].sum(1) for layer in group.layers)  # type: ignore[misc]
        for group in trial.surgery.groups
    }


def rows_of(group: ChannelGroup, layer: str) -> Tensor:
    """The layer's outputs [width, entries] that each channel of the group owns."""
    return next(owned.index for owned in group.slices if owned.tensor == f"{layer}.weight" and owned.dim == 0)
