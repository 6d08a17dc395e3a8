"""What each operation does to the labels of its inputs: the rules that `bench.surgery.graph` follows.

An operation is one of a few kinds. It moves elements (then it is carried out on the labels as well), joins elements
(labels are tied), mixes along dimensions (labels are tied along them or pinned), or multiplies (rows of one operand
go on, what is summed over is tied). `register_rule` adds an operation.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from bench.surgery.graph import Tracer
from bench.surgery.ties import varying

__all__ = ["Call", "Rule", "apply_rule", "compact", "joined", "joined_reason", "mixed", "register_rule"]


class Call:
    """One operation as it was executed: the tracer, the operation, its arguments and what it returned."""

    def __init__(self, tracer: Tracer, func: Any, args: Sequence[Any], kwargs: dict[str, Any], outputs: Any) -> None:
        self.tracer, self.func, self.args, self.kwargs = tracer, func, args, kwargs
        self.outputs = list(outputs) if isinstance(outputs, tuple | list) else [outputs]
        self.name = func.overloadpacket._qualified_op_name
        self.why: str | None = None

    @property
    def out(self) -> Tensor:
        """The first output."""
        return self.outputs[0]

    @property
    def x(self) -> Tensor:
        """The first input."""
        return self.args[0]

    def arg(self, place: int, default: Any = None) -> Any:
        """An argument that may have been left out."""
        return self.args[place] if len(self.args) > place else default

    def facets(self, tensor: Any) -> list[Tensor]:
        """A tensor's facets."""
        return self.tracer.facets(tensor)

    def give(self, tensor: Tensor, facets: list[Tensor]) -> None:
        """Gives an output its facets, those without labels left out."""
        kept = [compact(facet) for facet in facets]
        self.tracer.set(tensor, [facet for facet in kept if varying(facet)])

    def pin(self, labels: Tensor, reason: str, silent: bool = False) -> None:
        """These labels stay."""
        self.why = self.why or (None if silent else reason)
        self.tracer.ties.pin(labels, reason, silent)

    def tie(self, a: Tensor, b: Tensor) -> None:
        """Ties labels of two tensors that broadcast."""
        self.tracer.ties.tie(a, b, f"in {self.tracer.where}")


_TIED = "it is combined with channels that stay"
Rule = Callable[[Call], None]
_rules: dict[str, Rule] = {}


def register_rule(names: str, rule: Rule) -> None:
    """Follows these operations (names as in `aten::relu`, without `aten::`) by a rule from now on."""
    for name in names.split():
        _rules[name if "::" in name else f"aten::{name}"] = rule


def apply_rule(tracer: Tracer, func: Any, args: Sequence[Any], kwargs: dict[str, Any], outputs: Any) -> None:
    """Gives the outputs of an operation their labels."""
    call = Call(tracer, func, args, kwargs, outputs)
    rule = _rules.get(call.name) or (_rules.get(call.name[:-1]) if call.name.endswith("_") else None)
    if rule is not None:
        try:
            rule(call)
            _hand_on_why(call)
            return
        except Exception as error:  # a form of the operation that the rule does not expect: as if there were none
            tracer.failures.append(f"{call.name}: {type(error).__name__}: {error}")
    inputs = [each for each in torch.utils._pytree.tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
    if any(tracer.facets(each) for each in inputs):
        tracer.unknown.setdefault(call.name, tracer.where)
    for each in inputs:
        for facet in tracer.facets(each):
            call.pin(facet, f"it goes through {call.name} in {tracer.where}, which cannot be followed")
    for output in call.outputs:
        if isinstance(output, Tensor):
            tracer.set(output, [])


def _hand_on_why(call: Call) -> None:
    """Outputs without labels remember why the labels of an input had to stay."""
    why = call.why
    if why is None and call.tracer.reasons:
        inputs = torch.utils._pytree.tree_leaves(call.args)
        why = next((w for each in inputs if isinstance(each, Tensor) and (w := call.tracer.why(each))), None)
    for output in call.outputs:
        if isinstance(output, Tensor) and why is not None and not call.facets(output):
            call.tracer.set_why(output, why)


def compact(facet: Tensor) -> Tensor:
    """The same labels with stride 0 along every dimension where they do not differ."""
    varies = set(varying(facet))
    base = facet
    for d in range(facet.dim()):
        if d not in varies and facet.shape[d] > 1:
            base = base.narrow(d, 0, 1)
    for d in sorted(varies):
        first = base.narrow(d, 0, 1)
        if bool((base == first).all()):
            base = first
    if not varying(base):
        return base.new_zeros(()).expand(facet.shape)
    return base.expand(facet.shape)


def mixed(call: Call, facet: Tensor, dims: Sequence[int], reason: str | None) -> Tensor | None:
    """What is left of a facet after an operation across `dims`; length 1 along them.

    Labels that also differ along other dimensions are tied along `dims`; others are pinned with the reason (None:
    they end here, as in a sum), and nothing is left.
    """
    dims = [d % facet.dim() for d in dims]
    across = [d for d in varying(facet) if d in dims]
    if across and len(across) == len(varying(facet)):
        if reason is not None:
            call.pin(facet, reason)
        return None
    for d in dims:
        first = facet.narrow(d, 0, 1)
        if d in across:
            call.tie(facet, first)
        facet = first
    return facet


def joined(call: Call, tensors: Sequence[Tensor], shape: Sequence[int]) -> list[Tensor]:
    """The facets of what tensors give element by element: labels at one place are tied.

    A facet that meets an operand of full length without labels along it is pinned, unless `forward` made that
    operand from nothing.
    """
    found: list[Tensor] = []
    for tensor in tensors:
        for facet in call.facets(tensor):
            wide = facet.expand(shape)
            for other in found:
                if set(varying(wide)) & set(varying(other)):
                    call.tie(wide, other)
                    break
            else:
                found.append(wide)
    kept = []
    for facet in found:
        alone = [t for t in tensors if not call.tracer.is_free(t) and _is_full_without_labels(call, t, facet)]
        if alone:
            call.pin(facet, joined_reason(call, alone[0]))
        else:
            kept.append(facet)
    return kept


def joined_reason(call: Call, other: Tensor) -> str:
    name, why = call.tracer.origin(other), call.tracer.why(other)
    if why is not None:
        return why if why.startswith(_TIED) else f"{_TIED} in {call.tracer.where}: {why}"
    what = f"with {name}" if name else "with a tensor that has no channels of the network's layers"
    return f"in {call.tracer.where} it is combined {what}, whose size does not follow"


def _is_full_without_labels(call: Call, tensor: Tensor, facet: Tensor) -> bool:
    """Whether a tensor is as long as the facet along its dimensions, and has no labels along any of them."""
    offset = facet.dim() - tensor.dim()
    dims = [d - offset for d in varying(facet) if d >= offset and tensor.shape[d - offset] > 1]
    own = {d for each in call.facets(tensor) for d in varying(each)}
    return bool(dims) and not own & set(dims)
