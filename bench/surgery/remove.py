"""Physical removal of channels, in place on the same modules, proven equal to the mask before it happens."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from bench.errors import SurgeryError
from bench.surgery.groups import Groups, Slice, with_savings
from bench.surgery.keep import Keep, full_keep
from bench.surgery.mask import masked
from bench.surgery.proof import TOLERANCE, Proof, prove
from bench.surgery.resize import MADE_OF, Places, fit_attributes, keep_groups, lower_attribute, replace_tensor

__all__ = ["TOLERANCE", "Removal", "SlicePlan", "plan_removal", "remove", "resize_network"]

_WEIGHTS = ("weight", "original", "original0", "original1", *MADE_OF)


@dataclass(frozen=True, eq=False)
class SlicePlan:
    """Which entries of which tensors stay in a removal.

    Attributes:
        kept: tensor name -> dimension -> the entries that stay (sorted long, on the CPU).
        shapes: tensor name -> its shape before the removal.
        lowered: (module, attribute, place in it) -> by how much a module's number goes down.
    """

    kept: Mapping[str, Mapping[int, Tensor]]
    shapes: Mapping[str, torch.Size]
    lowered: Mapping[tuple[str, str, int | None], int] = field(default_factory=dict)

    def slice_tensor(self, name: str, tensor: Tensor) -> Tensor:
        """What stays of a tensor that goes with the parameter or buffer `name`: its state, mask, copy.

        Scalars, and tensors of parameters that the removal does not touch, come back as they are.

        Raises:
            SurgeryError: the tensor's shape is not the parameter's shape before the removal.
        """
        if name not in self.kept or tensor.dim() == 0:
            return tensor
        if tensor.shape != self.shapes[name]:
            raise SurgeryError(
                f"a tensor of shape {list(tensor.shape)} does not go with {name}, which had "
                f"{list(self.shapes[name])} before the removal. Pass it before any other removal."
            )
        for dim, entries in self.kept[name].items():
            tensor = tensor.index_select(dim, entries.to(tensor.device))
        return tensor

    def slice_state(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What stays of tensors by parameter name, such as one entry of an optimiser's state."""
        return {name: self.slice_tensor(name, tensor) for name, tensor in tensors.items()}


@dataclass(frozen=True, eq=False)
class Removal:
    """What a removal leaves: the groups as they are now, the plan to slice other tensors by, the proof."""

    groups: Groups
    plan: SlicePlan
    proof: Proof | None


def remove(network: nn.Module, groups: Groups, keep: Keep, proof_inputs: Tensor | None) -> Removal:
    """Removes the channels outside `keep` from the network, in place: same modules, new parameters.

    The removal is first carried out on a copy, whose outputs on `proof_inputs` must equal the masked ones
    (see `bench.surgery.proof`). If they do not, the network is as before.
    Gradients of the parameters that change are dropped; optimisers hold the old parameters (`Removal.plan`
    slices their state).

    Args:
        network: the network, on any device, in any mode.
        groups: its groups as they are now.
        keep: the channels that stay.
        proof_inputs: inputs [N, C, H, W], two or more; None only to repeat a removal that has been proven before.

    Raises:
        SurgeryError: `keep` does not fit, the outputs differ, or they are not finite.
    """
    kept = full_keep(groups, keep)
    plan = plan_removal(network, groups, kept)
    if not plan.kept:
        return Removal(groups, plan, None)
    proof = None
    if proof_inputs is not None:
        proof = prove(
            network,
            off=lambda duplicate: masked(duplicate, groups, kept),
            resize=lambda duplicate: resize_network(duplicate, plan),
            inputs=proof_inputs,
        )
    resize_network(network, plan)
    return Removal(_groups_after(groups, kept, plan), plan, proof)


def plan_removal(network: nn.Module, groups: Groups, keep: Keep) -> SlicePlan:
    """Which entries of every tensor stay; tensors that lose nothing are not named."""
    kept = full_keep(groups, keep)
    stays: dict[str, dict[int, Tensor]] = {}
    lowered: dict[tuple[str, str, int | None], int] = defaultdict(int)
    for group in groups:
        off = torch.ones(group.width, dtype=torch.bool)
        off[kept[group.name]] = False
        if not off.any():
            continue
        for each in group.attributes:
            lowered[each.module, each.name, each.item] += each.entries * int(off.sum())
        for owned in group.slices:
            mask = stays.setdefault(owned.tensor, {}).setdefault(owned.dim, torch.ones(owned.size, dtype=torch.bool))
            mask[owned.index[off].flatten()] = False
    tensors = dict(network.named_parameters()) | dict(network.named_buffers())
    return SlicePlan(
        kept={name: {dim: mask.nonzero().flatten() for dim, mask in by_dim.items()} for name, by_dim in stays.items()},
        shapes={name: tensors[name].shape for name in stays},
        lowered=dict(lowered),
    )


def resize_network(network: nn.Module, plan: SlicePlan) -> None:
    """Carries a plan out on a network, unproven."""
    tensors = dict(network.named_parameters()) | dict(network.named_buffers())
    places = Places(network)
    with torch.inference_mode(False), torch.no_grad():
        layers: dict[nn.Module, tuple[int, Tensor | None]] = {}  # once each: a parametrised weight is several tensors
        for name, by_dim in plan.kept.items():
            for module, attribute in places.of(tensors[name]):
                layer = places.layer_of(module)
                if attribute in _WEIGHTS:
                    rows, kept = layers.get(layer, (plan.shapes[name][0], None))
                    layers[layer] = rows, by_dim.get(0, kept)
        for layer, (rows, kept) in layers.items():
            keep_groups(layer, rows, kept)
        for name in plan.kept:
            replace_tensor(places, tensors[name], plan.slice_tensor(name, tensors[name]))
    for (path, attribute, item), lost in plan.lowered.items():
        lower_attribute(network.get_submodule(path), attribute, item, lost)
    for module in dict.fromkeys(
        places.layer_of(module) for name in plan.kept for module, _ in places.of(tensors[name])
    ):
        fit_attributes(module)


def _groups_after(groups: Groups, kept: Mapping[str, Tensor], plan: SlicePlan) -> Groups:
    narrower = [
        replace(
            group,
            width=len(kept[group.name]),
            slices=tuple(_slice_after(owned, kept[group.name], plan) for owned in group.slices),
        )
        for group in groups
    ]
    return replace(groups, offered=with_savings(narrower, groups.cost))


def _slice_after(owned: Slice, kept: Tensor, plan: SlicePlan) -> Slice:
    index, size = owned.index[kept], owned.size
    if owned.dim in plan.kept.get(owned.tensor, {}):
        entries = plan.kept[owned.tensor][owned.dim]
        index, size = torch.searchsorted(entries, index), len(entries)
    return replace(owned, index=index, size=size)
