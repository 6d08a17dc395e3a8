"""Reading a traced operator's inputs and outputs, `torch._C.Value`s: shapes, integers, lists of tensors."""

from typing import Any

from fvcore.nn.jit_handles import get_shape

from bench.errors import UncountedOperator

__all__ = ["int_of", "ints_of", "module_of", "parametrised_weight", "shape_of", "shapes_of"]


def shape_of(value: Any) -> list[int]:
    """The shape of a tensor in the trace.

    Raises:
        UncountedOperator: the trace does not know it.
    """
    shape = get_shape(value)
    if shape is None:
        raise UncountedOperator("the trace has no shape for one of its tensors")
    return list(shape)


def shapes_of(value: Any) -> list[list[int]]:
    """The shapes of a list of tensors."""
    return [shape_of(each) for each in value.node().inputs()]


def int_of(value: Any) -> int | None:
    """An integer argument; None where it was left out, or is computed while the network runs."""
    constant = value.toIValue()
    return constant if isinstance(constant, int) else None


def ints_of(value: Any) -> list[int] | None:
    """A list of integers; None where it was left out, or one is computed while the network runs."""
    constant = value.toIValue()
    if isinstance(constant, list):
        return [int(each) for each in constant]
    if isinstance(constant, int):
        return [constant]
    if value.node().kind() != "prim::ListConstruct":
        return None
    listed = [int_of(each) for each in value.node().inputs()]
    return None if None in listed else [each for each in listed if each is not None]


def module_of(node: Any) -> str:
    """The name of the innermost module that a node was traced in; "" for the network itself."""
    name: str = node.scopeName().split("/")[-1]
    return name


def parametrised_weight(node: Any) -> str | None:
    """The weight, such as `fc.weight`, that the node helps to compute by `torch.nn.utils.parametrize`; else None."""
    layer, inside, rest = f".{module_of(node)}".partition(".parametrizations.")
    return f"{layer}.{rest.split('.')[0]}".lstrip(".") if inside else None
