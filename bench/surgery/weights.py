"""Unstructured masks: which single weights and biases take part, during training and after it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bench.errors import SurgeryError, unknown_name
from bench.surgery.fit import Scope
from bench.surgery.maskable import coverage, largest_of_slices, slices
from bench.surgery.remove import SlicePlan

__all__ = ["WeightMasks"]


class WeightMasks:
    """Masks over a network's weights and their biases, wherever they are; all true at first.

    Args:
        network: the network; its parameters are looked up by name each time, so removals do not matter.
        names: the parameters to cover, such as `conv1.weight`. None covers every parameter of two dimensions or more
            and the biases beside them: see `bench.surgery.maskable`.

    Attributes:
        left_out: parameter name -> why it has no mask.
        straight_through: how training treats masked weights, as in `forward_weights`; a method sets it.

    Raises:
        SurgeryError: a name is no parameter of the network.
    """

    def __init__(self, network: nn.Module, names: Sequence[str] | None = None) -> None:
        self._network = network
        parameters = dict(network.named_parameters())
        self._coverage = coverage(network)
        if names is None:
            names = self._coverage.covered
        for name in names:
            if name not in parameters:
                raise SurgeryError(str(unknown_name("parameter", name, parameters)))
        self.left_out = {
            name: self._coverage.left_out.get(name, "not asked for") for name in parameters if name not in names
        }
        self._masks = {name: torch.ones_like(parameters[name], dtype=torch.bool) for name in names}
        self._active = False
        self.straight_through = False

    @property
    def masks(self) -> dict[str, Tensor]:
        """Parameter name -> bool tensor of its shape, true where the weight takes part."""
        return dict(self._masks)

    @property
    def active(self) -> bool:
        """Whether any weight is masked."""
        return self._active

    @property
    def total(self) -> int:
        """Number of weights covered."""
        return sum(mask.numel() for mask in self._masks.values())

    def why_left_out(self) -> str:
        """Why parameters have no mask, and how many for each reason, in one line; empty if all have one."""
        return "; ".join(f"{reason} ({count}x)" for reason, count in Counter(self.left_out.values()).items())

    def remaining(self) -> int:
        """Number of weights covered that take part."""
        return sum(int(mask.sum()) for mask in self._masks.values())

    def set(self, masks: Mapping[str, Tensor]) -> None:
        """Replaces the masks of the named parameters; the others stay. The weights are not touched.

        Raises:
            SurgeryError: a parameter is not covered, its mask is no bool tensor of its shape, or nothing is left of
                a slice that weight normalisation divides by its norm.
        """
        for name, mask in masks.items():
            if name not in self._masks:
                raise SurgeryError(str(unknown_name("masked parameter", name, self._masks)))
            if mask.shape != self._masks[name].shape or mask.dtype != torch.bool:
                raise SurgeryError(
                    f"the mask of {name} is {mask.dtype} {list(mask.shape)}. "
                    f"Give torch.bool {list(self._masks[name].shape)}."
                )
            dimension = self._coverage.directions.get(name)
            if dimension is not None and not slices(mask, dimension).any(1).all():
                raise SurgeryError(
                    f"the mask of {name} leaves nothing of a slice that weight normalisation divides by its norm, and "
                    "0/0 is no number. Keep one entry or more of each, as `highest` does, or mask its scale instead."
                )
        for name, mask in masks.items():
            self._masks[name] = mask.detach().clone().to(self._masks[name].device)
        self._active = not all(bool(mask.all()) for mask in self._masks.values())

    def highest(self, scores: Mapping[str, Tensor], keep: int, scope: Scope = "global") -> dict[str, Tensor]:
        """Masks that keep the `keep` weights with the highest scores, for `set`.

        Args:
            scores: a tensor of its shape for every parameter covered, by name.
            keep: how many stay; of equal scores the first ones do.
            scope: `global` (one threshold over all layers) or `uniform` (the same share of every layer, its bias
                included). In either every weight matrix keeps one entry, so that no network is cut in two, and every
                slice that weight normalisation divides by its norm keeps one.

        Raises:
            SurgeryError: a parameter has no scores, or they are not of its shape.
        """
        for name, mask in self._masks.items():
            if name not in scores or scores[name].shape != mask.shape:
                given = list(scores[name].shape) if name in scores else "none"
                raise SurgeryError(f"scores of {name}: {given}. Give one for each of its weights, {list(mask.shape)}.")
        plain = torch.contiguous_format
        layers = [
            {name: scores[name].detach().clone(memory_format=plain) for name in names} for names in self.layers.values()
        ]
        for layer in layers:
            for name, score in layer.items():
                if score.dim() > 1 or len(layer) == 1:
                    score[largest_of_slices(score, self._coverage.directions.get(name, -1))] = torch.inf
        if scope == "global":
            return _highest({name: each for layer in layers for name, each in layer.items()}, keep)
        masks: dict[str, Tensor] = {}
        for layer in layers:
            masks |= _highest(layer, max(1, round(keep / self.total * sum(each.numel() for each in layer.values()))))
        return masks

    @property
    def layers(self) -> dict[str, tuple[str, ...]]:
        """Layer name -> the names of its parameters that are covered (weight and bias)."""
        found: dict[str, tuple[str, ...]] = {}
        for name in self._masks:
            layer = name.rpartition(".")[0]
            found[layer] = (*found.get(layer, ()), name)
        return found

    @torch.no_grad()
    def apply_(self) -> None:
        """Zeroes the masked weights in place."""
        for parameter, mask in self._live():
            parameter.masked_fill_(~mask, 0)

    @contextmanager
    def forward_weights(self, straight_through: bool) -> Iterator[None]:
        """A context around forward and backward, in which the network computes with masked weights.

        Call the optimiser's step outside.

        Args:
            straight_through: True: masked weights keep their values outside the context and get the gradient
                taken at the masked network, so that they may come back (Dynamic Network Surgery, Guo et al.
                2016; OLMP). False: they are zero, and their gradient is zero. Momentum and weight decay may
                still move them: call `apply_` after the optimiser's step.
        """
        live = list(self._live())
        values = [parameter.detach().clone() for parameter, _ in live] if straight_through else []
        try:
            self.apply_()
            yield
        finally:
            with torch.no_grad():
                for (parameter, _), value in zip(live, values, strict=False):
                    parameter.copy_(value)
                for parameter, mask in [] if straight_through else live:
                    if parameter.grad is not None:
                        parameter.grad.masked_fill_(~mask, 0)

    def slice_(self, plan: SlicePlan) -> None:
        """Follows a structural removal: masks keep the entries that the parameters keep."""
        self._masks = plan.slice_state(self._masks)

    def state_dict(self) -> dict[str, Tensor]:
        """The masks, to save."""
        return self.masks

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Takes saved masks; they must name the same parameters.

        Raises:
            SurgeryError: the names or shapes are others.
        """
        if set(state) != set(self._masks):
            raise SurgeryError(
                f"saved masks are of {sorted(state)}, these are of {sorted(self._masks)}. "
                f"Load them into masks over the same parameters."
            )
        self.set(state)

    def _live(self) -> Iterator[tuple[nn.Parameter, Tensor]]:
        for name, mask in self._masks.items():
            parameter = self._network.get_parameter(name)
            if mask.device != parameter.device:
                mask = self._masks[name] = mask.to(parameter.device)
            yield parameter, mask


def _highest(scores: Mapping[str, Tensor], keep: int) -> dict[str, Tensor]:
    """Masks over the `keep` highest of all these scores together."""
    flat = torch.cat([each.flatten() for each in scores.values()])
    if keep >= flat.numel():
        return {name: torch.ones_like(each, dtype=torch.bool) for name, each in scores.items()}
    threshold = flat.kthvalue(flat.numel() - keep + 1).values
    mask = flat > threshold
    equal = (flat == threshold).nonzero().flatten()
    mask[equal[: keep - int(mask.sum())]] = True
    parts = mask.split([each.numel() for each in scores.values()])
    return {name: part.view(each.shape) for (name, each), part in zip(scores.items(), parts, strict=True)}
