"""Follows labels through a network while it runs, operation by operation.

The tracer sees the operations that PyTorch itself executes (`torch.utils._python_dispatch`), so nothing depends on
how `forward` is written: hooks, parametrisations, functions and custom modules are followed alike. Each tensor
carries facets: tensors of its own shape that hold the label which owns each element (`bench.surgery.ties`).
`bench.surgery.rules` says what each operation does to them; a rule that fails, or an operation without one, pins
what goes in, and the trace goes on.
"""

import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from bench.surgery.ties import Attribute, Split, Ties, varying

__all__ = ["Tracer", "no_dropout", "plain_kernels"]

_FACETS, _FREE, _WHY = "_bench_facets", "_bench_free", "_bench_why"
RANDOM = ("aten::bernoulli_", "aten::bernoulli", "aten::native_dropout")
"""What dropout and stochastic depth run."""

_CONSTANT = ("aten::empty", "aten::detach", "aten::alias")
_OPAQUE = ("einsum", "tensordot", "lstm", "gru", "rnn_tanh", "rnn_relu", "chain_matmul", "inner", "bilinear")
"""Functions that run as other operations than those that are counted: the cost is counted, too."""

_FROM_SHAPES = ("in_channels", "out_channels", "groups", "in_features", "out_features")
_DROPOUT = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d)


@contextmanager
def plain_kernels() -> Iterator[None]:
    """Fused attention runs as the matrix products that it stands for, and nothing is compiled."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), torch.compiler.set_stance("force_eager"):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


class _Functions(TorchFunctionMode):
    """Remembers whether a function ran whose cost the operations do not show."""

    def __init__(self) -> None:
        super().__init__()
        self.opaque = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in _OPAQUE:
            self.opaque = True
        return func(*args, **(kwargs or {}))


class no_dropout(TorchFunctionMode):
    """Dropout hands its input on."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _DROPOUT:
            return args[0] if args else kwargs["input"]
        return func(*args, **kwargs)


class Tracer(TorchDispatchMode):
    """Runs a network and collects its ties.

    Attributes:
        ties: everything that was found, over all runs.
        random: whether dropout or stochastic depth ran, in any run.
        values: over how many values of one image a batch norm takes its statistics, where fewest.
        opaque: whether `ties.products` may be incomplete.
        unknown: operations without a rule, with the module that ran the first of each.
        positions: by parameter name, at how many positions of one input it was applied.
        applied_labels: by parameter name, the labels of the rows that were.
        used: names of the parameters and buffers that took part.
        counting: whether products are collected, in the present run.
        reasons: whether any tensor knows why it has no labels.
    """

    def __init__(self, network: nn.Module) -> None:
        from bench.surgery import elementwise, moves, products, rules  # noqa: F401 - they register their rules

        super().__init__()
        self._rules = rules
        self.ties = Ties()
        self.opaque = False
        self.failures: list[str] = []
        self.unknown: dict[str, str] = {}
        self.positions: dict[str, int] = {}
        self.applied_labels: dict[str, NDArray[np.int64]] = {}
        self.called: set[nn.Module] = set()
        self.counting = self.reasons = False
        self._network = network
        self._names = {module: name for name, module in network.named_modules()}
        self._stack: list[nn.Module] = [network]
        self.random = False
        self.values = sys.maxsize
        self._operations: list[Any] = []
        self._seen: list[Any] = []
        self._following = True
        self._lengths: dict[nn.Module, list[tuple[str, int | None, int]]] = {}
        self._read: dict[type[nn.Module], list[str]] = {}
        self._origins: dict[int, str] = {}
        self._start()

    def run(self, inputs: Tensor, training: bool, counting: bool = False) -> Any:
        """One forward pass; the network's outputs, whose labels are pinned."""
        self.counting = counting
        self._network.train(training)
        self._operations, self._following = [], True
        functions = _Functions()
        with ExitStack() as stack:
            for module in self._network.modules():
                stack.callback(module.register_forward_pre_hook(self._enter, prepend=True).remove)
                stack.callback(module.register_forward_hook(self._leave, always_call=True).remove)
            stack.enter_context(plain_kernels())
            stack.enter_context(torch.no_grad())
            stack.enter_context(functions)
            stack.enter_context(self)
            outputs = self._network(inputs)
        self.opaque |= functions.opaque
        self._seen = self._seen or self._operations
        for output in pytree.tree_leaves(outputs):
            for facet in self.facets(output) if isinstance(output, Tensor) else ():
                self.ties.pin(facet, "its channels are the network's outputs", silent=True)
        return outputs

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within it operations are seen and not followed; `alike` compares them with those of the first run."""
        self._operations, self._following = [], False
        with self:
            yield

    @property
    def alike(self) -> bool:
        """Whether what was watched executed what the first run did."""
        return self._operations == self._seen

    # what rules ask for

    @property
    def module(self) -> nn.Module:
        """The module whose `forward` is running."""
        return self._stack[-1]

    @property
    def where(self) -> str:
        """Its path and type, for reasons."""
        name = self._names.get(self.module, "")
        return f"{name or 'the network'} ({type(self.module).__name__})"

    def facets(self, tensor: Any) -> list[Tensor]:
        """The facets of a tensor; none for what no label owns."""
        return getattr(tensor, _FACETS, [])

    def set(self, tensor: Tensor, facets: list[Tensor]) -> None:
        """Gives a tensor its facets."""
        setattr(tensor, _FACETS, facets)

    def is_free(self, tensor: Any) -> bool:
        """Whether `forward` made the tensor from nothing, so that its shape may follow others."""
        return getattr(tensor, _FREE, False)

    def set_free(self, tensor: Tensor) -> None:
        """`forward` made the tensor from nothing."""
        setattr(tensor, _FREE, True)

    def why(self, tensor: Any) -> str | None:
        """Why the labels that a tensor might have had to stay."""
        return getattr(tensor, _WHY, None)

    def set_why(self, tensor: Tensor, reason: str) -> None:
        """Why a tensor has no labels."""
        self.reasons = True
        setattr(tensor, _WHY, reason)

    def origin(self, tensor: Tensor) -> str | None:
        """The name of the parameter or buffer that a tensor is, or is a view of."""
        base = tensor if tensor._base is None else tensor._base
        return self._origins.get(id(base))

    def measure(self, facet: Tensor, sizes: Mapping[int, int]) -> None:
        """Looks for the module's own numbers that say how long these axes of a facet are.

        Args:
            facet: the labels.
            sizes: axis -> the number to look for, in the order of the axes.
        """
        lengths = self.lengths()
        path = self._names.get(self.module, "")
        kept = _compact_numpy(facet)
        for size in dict.fromkeys(sizes.values()):
            axes = [axis for axis, length in sizes.items() if length == size]
            same = [(name, item) for name, item, length in lengths if length == size]
            sure = len(axes) == len(same)  # then they go together in the order of the code
            pairs = zip(axes, same, strict=True) if sure else ((a, s) for a in axes for s in same)
            for axis, (name, item) in pairs:
                self.ties.attributes.append(Attribute(path, name, item, kept, axis, sure))

    def applied(self, labels: Tensor | None, positions: int) -> None:
        """A weight whose rows have these labels was applied at so many positions."""
        label = 0 if labels is None else int(labels.max())
        if labels is not None and label:
            name = self.ties.tensor_of(label)
            positions = positions if self.counting else 1  # a training run has two inputs
            self.applied_labels.setdefault(name, labels.numpy().reshape(-1).astype("int64"))
            self.positions[name] = max(positions, self.positions.get(name, 0))

    def measure_as(self, name: str, item: int | None, facet: Tensor, axis: int) -> None:
        """The running module's number `name` says how long this axis of a facet is."""
        if hasattr(self.module, name):
            path = self._names.get(self.module, "")
            self.ties.attributes.append(Attribute(path, name, item, _compact_numpy(facet), axis))

    def split(self, labels: Tensor, strict: bool, blocks: bool = False) -> None:
        """`forward` splits labels, whose parts are along the first axis."""
        self.ties.splits.append(Split(_compact_numpy(labels), strict, blocks, self.where))

    def lengths(self) -> list[tuple[str, int | None, int]]:
        """The numbers of the running module that its code reads."""
        if self.module not in self._lengths:
            self._lengths[self.module] = _lengths_in(self.module, self._read)
        return self._lengths[self.module]

    # the trace

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        outputs = func(*args, **kwargs)
        name = func.overloadpacket._qualified_op_name
        if name in RANDOM:
            self.random = True
        if isinstance(outputs, Tensor) and not outputs.is_floating_point():
            pass  # counters, masks and shapes
        elif name not in _CONSTANT:
            self._operations.append((name, [list(each.shape[1:]) for each in args if isinstance(each, Tensor)]))
        if self._following:
            self._rules.apply_rule(self, func, args, kwargs, outputs)
        return outputs

    def _enter(self, module: nn.Module, _inputs: Any) -> None:
        self._stack.append(module)
        self.called.add(module)

    def _leave(self, module: nn.Module, _inputs: Any, _outputs: Any) -> None:
        if module in self._stack[1:]:
            while self._stack.pop() is not module:
                pass

    def _start(self) -> None:
        modules = {name: module for module, name in self._names.items()}
        for name, tensor in [*self._network.named_parameters(), *self._network.named_buffers()]:
            self._origins[id(tensor)] = name
            module = modules[name.rpartition(".")[0]]
            dims = range(min(2, tensor.dim()) if isinstance(module, nn.modules.conv._ConvNd) else tensor.dim())
            facets = []
            for dim in dims:
                if tensor.shape[dim] > 1 and tensor.is_floating_point():
                    shape = [tensor.shape[d] if d == dim else 1 for d in range(tensor.dim())]
                    labels = self.ties.new(name, dim, tensor.shape[dim])
                    facets.append(labels.view(shape).expand(tensor.shape))
            if facets:
                self.set(tensor, facets)


def _lengths_in(module: nn.Module, read: dict[type[nn.Module], list[str]]) -> list[tuple[str, int | None, int]]:
    """The whole numbers of a module that its code reads (`read`, by type): attribute, place in it, value.

    They are in the order of the code, which tells numbers of one value apart.
    """
    if type(module) not in read:
        read[type(module)] = _names_in(type(module))
    found: list[tuple[str, int | None, int]] = []
    for name in read[type(module)]:
        value = module.__dict__.get(name)
        if type(value) is int and value > 1:
            found.append((name, None, value))
        elif isinstance(value, list | tuple) and all(type(item) is int for item in value):
            found.extend((name, place, item) for place, item in enumerate(value) if item > 1)
    if isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
        return [each for each in found if each[0] not in _FROM_SHAPES]  # `resize.fit_attributes` sets them
    return found


def _names_in(kind: type[nn.Module]) -> list[str]:
    """The names that `forward`, or a method that it calls, reads."""
    order: dict[str, None] = {}
    waiting, known = ["forward"], {"forward", "__init__"}
    while waiting:
        method = inspect.getattr_static(kind, waiting.pop(), None)
        code = getattr(getattr(method, "fget", method), "__code__", None)
        for name in () if code is None else code.co_names:
            order[name] = None
            if name not in known and hasattr(kind, name) and not hasattr(nn.Module, name):
                known.add(name)
                waiting.append(name)
    return list(order)


def _compact_numpy(facet: Tensor) -> Any:
    """The labels as an array, with length 1 along the axes where they do not differ."""
    varies = varying(facet)
    for axis in range(facet.dim()):
        if axis not in varies:
            facet = facet.narrow(axis, 0, min(1, facet.shape[axis]))
    return facet.numpy().astype("int64")
