"""Any classifier of torchvision, as `torchvision:NAME`. Nothing is downloaded: weights are always fresh."""

import difflib
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from bench.errors import UsageError
from bench.networks.base import Network, NetworkSpec, reset, reset_modules

__all__ = ["TorchvisionNetwork"]

_SIZES = {"inception_v3": 299}
_DEFAULT_SIZE = 224


class TorchvisionNetwork(Network):
    """torchvision's classifier of this name; it has no fixed `name`, so it is not listed with the others.

    Activations work on copies, unlike torchvision's, so that what a probe reads from a layer is the layer's own output.
    Auxiliary heads, which only training has, are left out unless the setting `aux_logits` asks for them.

    Raises:
        UsageError: torchvision has no such classifier; the near names are listed.
    """

    def __init__(self, model: str, settings: Mapping[str, Any] | None = None) -> None:
        import torchvision

        known = torchvision.models.list_models(module=torchvision.models)
        if model not in known:
            near = difflib.get_close_matches(model, known, n=8, cutoff=0.4)
            hint = f"Near names: {', '.join(near)}." if near else f"It has {', '.join(known)}."
            raise UsageError(f"torchvision {torchvision.__version__} has no classifier {model!r}. {hint}")
        self.model = model
        self.settings = dict(settings or {})
        self.name = f"torchvision:{model}"
        self.summary = f"torchvision's {model}, without pretrained weights"
        self.reference = "https://github.com/pytorch/vision"
        self.input = NetworkSpec(3, _SIZES.get(model, _DEFAULT_SIZE), 1000)

    def construct(self, spec: NetworkSpec) -> nn.Module:
        import torchvision

        settings = {**self.settings, "weights": None, "num_classes": spec.classes}
        if self.model in ("googlenet", "inception_v3"):
            settings["init_weights"] = False  # minutes of drawing, and drawn again below
            settings.setdefault("aux_logits", False)
        if self.model.startswith("vit_") and spec.size != _DEFAULT_SIZE:
            settings["image_size"] = spec.size
        try:
            network: nn.Module = torchvision.models.get_model(self.model, **settings)
        except (TypeError, ValueError) as error:
            raise UsageError(f"{self.name} cannot be made with {settings}: {error}. Change the settings.") from error
        if spec.channels != 3:
            _take_channels(network, spec.channels)
        for module in network.modules():
            if getattr(module, "inplace", False):
                module.inplace = False  # type: ignore[assignment]
        return network

    def initialise(self, network: nn.Module) -> None:
        """Every module resets itself; convolutions are drawn as in most of torchvision's models, by what they feed.

        Bare parameters (class tokens, position tables) are drawn by torchvision's constructor.
        """
        bare = {
            f"{path}.{name}".lstrip("."): value
            for path, module in network.named_modules()
            if module._parameters and not reset(module)
            for name, value in module._parameters.items()
            if value is not None
        }
        fresh = dict(self.construct(self._spec_of(network)).named_parameters()) if bare else {}
        reset_modules(network)
        with torch.no_grad():
            for name, value in bare.items():  # a pruned one is narrower than the constructor's
                value.copy_(fresh[name].detach()[tuple(slice(side) for side in value.shape)])
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def _spec_of(self, network: nn.Module) -> NetworkSpec:
        """The input that a network with bare parameters was built for: transformers know their image's size."""
        size = getattr(network, "image_size", self.input.size)
        first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
        return NetworkSpec(first.in_channels, size, self.input.classes)


def _take_channels(network: nn.Module, channels: int) -> None:
    """Puts a first convolution for `channels` in the place of the one for three."""
    path, first = next((path, m) for path, m in network.named_modules() if isinstance(m, nn.Conv2d))
    parent, _, name = path.rpartition(".")
    other = nn.Conv2d(
        channels,
        first.out_channels,
        first.kernel_size,  # type: ignore[arg-type]
        first.stride,  # type: ignore[arg-type]
        first.padding,  # type: ignore[arg-type]
        bias=first.bias is not None,
    )
    setattr(network.get_submodule(parent), name, other)
