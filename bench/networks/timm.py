"""Any model of the timm library, as `timm:NAME`. Nothing is downloaded: weights are always fresh."""

import difflib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import UsageError
from bench.networks.base import Network, NetworkSpec, reset_modules

__all__ = ["TimmNetwork"]


def _scheme(network: nn.Module) -> Callable[[], object]:
    """timm's way to initialise `network`: a method for most, a function for the families of EfficientNet.

    Raises:
        ValueError: neither; resetting the modules alone would give other weights than timm's.
    """
    from timm.models import efficientnet, mobilenetv3

    if isinstance(network, efficientnet.EfficientNet | mobilenetv3.MobileNetV3):
        return partial(efficientnet.efficientnet_init_weights, network)
    method = getattr(network, "init_weights", None)
    if not callable(method):
        raise ValueError(f"timm's {type(network).__name__} has no init_weights()")
    return method


class TimmNetwork(Network):
    """timm's model of this architecture name; it has no fixed `name`, so it is not listed with the others.

    Raises:
        UsageError: timm knows no such model; the near names are listed.
    """

    def __init__(self, model: str, settings: Mapping[str, Any] | None = None) -> None:
        import timm

        if not timm.is_model(model):
            near = difflib.get_close_matches(model, timm.list_models(), n=8, cutoff=0.4)
            hint = f"Near names: {', '.join(near)}." if near else "timm.list_models() lists them."
            raise UsageError(f"timm {timm.__version__} has no model {model!r}. {hint}")
        self.model = model
        self.settings = dict(settings or {})
        self.name = f"timm:{model}"
        self.summary = f"timm's {model}, without pretrained weights"
        self.reference = "https://github.com/huggingface/pytorch-image-models"
        known = timm.get_pretrained_cfg(model)
        channels, *size = known.input_size if known else (3, 224, 224)
        self.input = NetworkSpec(
            channels, (size[0], size[1]), known.num_classes if known and known.num_classes else 1000
        )

    def construct(self, spec: NetworkSpec) -> nn.Module:
        import timm

        settings = {**self.settings, "pretrained": False, "num_classes": spec.classes, "in_chans": spec.channels}
        if spec.shape[1:] != self.input.shape[1:]:
            try:
                return timm.create_model(self.model, img_size=(spec.height, spec.width), **settings)
            except TypeError as error:  # a model for any size, such as a ResNet, has no such setting
                if "img_size" not in str(error):
                    raise
        return timm.create_model(self.model, **settings)

    def build(self, spec: NetworkSpec) -> nn.Module:
        """A network for `spec`, initialised by timm itself: some models cannot be initialised again."""
        return self.construct(spec)

    def initialise(self, network: nn.Module) -> None:
        """Set all parameters in place to fresh values: every module resets itself, then timm's own scheme.

        Raises:
            UsageError: a parameter would keep its value, or timm cannot initialise this model again; the
                network is as it was.
        """
        before: dict[str, Tensor] = {key: value.clone() for key, value in network.state_dict().items()}
        try:
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter.fill_(torch.nan)
            reset_modules(network)
            _scheme(network)()
            left = [name for name, value in network.named_parameters() if value.isnan().any()]
        except (TypeError, ValueError, RuntimeError) as error:
            left = [f"{type(error).__name__}: {error}"]
        if left:
            network.load_state_dict(before)
            raise UsageError(
                f"{self.name} cannot be initialised again in place ({', '.join(left[:5])}), so it has no "
                "`scratch` control. Leave that control out, or write a plugin with its own initialise()."
            )
