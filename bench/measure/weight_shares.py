"""Which share of a traced operator's weights is not zero: what an unstructured mask leaves of its cost."""

from typing import Any

from torch import Tensor, nn

from bench.measure.operators import Handler
from bench.measure.traced_values import parametrised_weight, shape_of

__all__ = ["WeightShares"]

_HANDING_ON = (
    "chunk contiguous detach expand flatten mT movedim narrow numpy_T permute reshape select slice split "
    "split_with_sizes squeeze t tensor_split to transpose type_as unbind unflatten unsqueeze view view_as _weight_norm"
)
_RESHAPES = {"prim::ListUnpack", "prim::TupleUnpack", *(f"aten::{name}" for name in _HANDING_ON.split())}
"""What hands a weight on, or a part of it."""

_ADDED_FIRST = ("aten::add", "aten::baddbmm", "aten::_addmm")
"""Products whose first input is added, not multiplied."""


class WeightShares:
    """The shares of nonzero entries of a network's weights, as the tracer sees them.

    A weight is a parameter of two dimensions or more, or what a parametrisation makes of some. The tracer gives a
    graph the network's state as inputs, in the order of its state dict and without repetitions, behind the image.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        unique = {id(tensor): tensor for tensor in network.state_dict(keep_vars=True).values()}
        self._state = list(unique.values())

    def scaled(self, op: str, handler: Handler) -> Handler:
        """The handler's count times the share of each weight among the operator's inputs."""

        def count(inputs: list[Any], outputs: list[Any]) -> int:
            macs = handler(inputs, outputs)
            if not macs:
                return macs
            for value in inputs[op.startswith(_ADDED_FIRST) :]:
                nonzero, entries = self._entries(value)
                macs = macs * nonzero // entries
            return macs

        return count

    def _entries(self, value: Any) -> tuple[int, int]:
        """Nonzero entries and all, of a weight or a list of weights; 1 of 1 for anything else."""
        node = value.node()
        if node.kind() == "prim::ListConstruct" and str(value.type()) == "List[Tensor]":
            pairs = [self._entries(each) for each in node.inputs() if len(shape_of(each)) > 1]
            pairs = [pair for pair in pairs if pair != (1, 1)]
            return (sum(p[0] for p in pairs), sum(p[1] for p in pairs)) if pairs else (1, 1)
        weight = self._weight(value)
        return (1, 1) if weight is None else (int(weight.count_nonzero()), weight.numel())

    def _weight(self, value: Any) -> Tensor | None:
        node = value.node()
        while node.kind() in _RESHAPES:
            value = next(iter(node.inputs()))
            node = value.node()
        parametrised = parametrised_weight(node)
        if parametrised is not None:
            layer, _, attribute = parametrised.rpartition(".")
            found = getattr(self._network.get_submodule(layer), attribute)
        elif node.kind() == "prim::Param":
            names = [each.debugName() for each in node.outputs()]
            found = (None, *self._state)[names.index(value.debugName())]  # the image comes first
            if not isinstance(found, nn.Parameter) or found.dim() < 2:
                return None
        else:
            return None
        return found.detach() if isinstance(found, Tensor) else None
