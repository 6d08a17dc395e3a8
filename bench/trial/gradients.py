"""Gradients and Hessian products of a loss over many images, for criteria that rank by them.

Nothing here steps: the network's weights, statistics and `.grad` fields are as before. What images cost is charged by
the caller, batch by batch.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from bench.surgery.proof import bare_copy
from bench.training.trainer import Loss

__all__ = ["HESSIAN", "GradientReduce", "absolute_copy", "mean_gradients"]

GradientReduce = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
HESSIAN = 3
"""What a product with the Hessian costs in gradients: forward and backward, and backward through both."""


def mean_gradients(
    network: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    loss: Loss,
    masks: Callable[[], AbstractContextManager[None]],
    reduce: GradientReduce | None = None,
    direction: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """The gradient of the mean loss, or what `reduce` makes of each batch's; both averaged by the batches' images.

    Args:
        network: in the mode that is wanted.
        batches: images [N, C, H, W] and labels [N].
        loss: `loss(network, outputs, labels)`, a scalar, the mean over a batch.
        masks: a context in which unstructured masks are in force. The gradient is taken at the masked network, of the
            masked weights too (what they would gain if they came back).
        reduce: from gradients by parameter name to small tensors by name, called for each batch.
        direction: tensors by parameter name: instead of the gradient, the product of the Hessian with them is taken.

    Returns:
        Tensors on the CPU, by parameter name or by the names that `reduce` gives.
    """
    named = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    sums: dict[str, Tensor] = {}
    count = 0
    for images, labels in batches:
        with masks(), torch.enable_grad():
            value = loss(network, network(images), labels)
            taken = _gradient(value, named, again=direction is not None)
            if direction is not None:
                along = [(taken[name] * direction[name].to(taken[name].device)).sum() for name in named]
                taken = _gradient(torch.stack(along).sum(), named)
        found = taken if reduce is None else reduce(taken)
        for name, tensor in found.items():
            part = tensor.detach() * len(images)
            sums[name] = sums[name] + part if name in sums else part
        count += len(images)
    return {name: (total / count).cpu().contiguous() for name, total in sums.items()}


def _gradient(value: Tensor, named: Mapping[str, nn.Parameter], again: bool = False) -> dict[str, Tensor]:
    """By name; zeros where the value does not depend on a parameter. `again`: can be differentiated again."""
    found = torch.autograd.grad(value, list(named.values()), create_graph=again, materialize_grads=True)
    return dict(zip(named, found, strict=True))


@torch.no_grad()
def absolute_copy(network: nn.Module) -> nn.Module:
    """A copy in float64 whose parameters and statistics have their absolute values (SynFlow, Tanaka et al. 2020).

    In float64, since the products of a deep network's norms leave the range of float32.
    """
    copy = bare_copy(network).double()
    for tensor in (*copy.parameters(), *copy.buffers()):
        if tensor.is_floating_point():
            tensor.abs_()
    return copy
