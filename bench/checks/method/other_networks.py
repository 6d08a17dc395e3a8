"""Checks on other networks: small and large ones with batch normalisation, groups of one channel, nothing to prune."""

from bench.checks.method.case import Case, CheckFailed, DoesNotApply, check_track
from bench.checks.method.runs import meets_target
from bench.checks.method.toy_networks import Narrow, Unprunable

__all__ = ["narrow", "nothing_to_prune", "one_channel_left", "plain_network", "residual_block", "residual_network"]

_SHORT = 0.2  # of the pruning share: at a hundredth of the MACs it still pays for dozens of epochs


def residual_block(case: Case) -> str:
    """A small network with batch normalisation, whose residual add ties the stem to the block's end."""
    return meets_target(case, check_track("residual"), case.target(0.5))


def plain_network(case: Case) -> str:
    """The layers of VGG-16, thirteen plain convolutions with BatchNorm among them, at a quarter of the widths."""
    return meets_target(case, check_track("plain"), case.target(0.5))


def residual_network(case: Case) -> str:
    """ResNet-20: residual adds tie layers, so that several lose the same channels."""
    return meets_target(case, check_track("resnet20"), case.target(0.5))


def one_channel_left(case: Case) -> str:
    """A target so small that every group ends at one channel: none is emptied, nothing crashes."""
    if case.method.kind != "structured" or case.method.targets == "none":
        raise DoesNotApply("removes no channels")
    assert case.track.dense.epochs is not None
    pruning = case.track.budget.dense_epochs - case.track.dense.epochs
    amount = case.track.dense.epochs + _SHORT * pruning
    budget = case.track.budget.model_copy(update={"dense_epochs": amount})
    record = case.finished(case.track.model_copy(update={"budget": budget}), case.one_channel)
    widths = {layer.name: layer.width_after for layer in record.layers if layer.width_after != layer.width_before}
    empty = [name for name, width in widths.items() if width < 1]
    if empty:
        raise CheckFailed(f"{', '.join(empty)} has no channel left. Keep one channel of every group.")
    return f"{', '.join(f'{name} {width}' for name, width in widths.items())} channels; {record.status}"


def narrow(case: Case) -> str:
    """A group that has one channel from the start stays, and the others meet the target."""
    fields = {"name": Narrow.name, "network": Narrow.name, "prunable": None, "tolerance": 0.25}
    return meets_target(case, check_track("residual").model_copy(update=fields), case.target(0.5))


def nothing_to_prune(case: Case) -> str:
    """A network without channel groups is refused, in words that help."""
    if case.method.kind != "structured" or case.method.targets == "none":
        raise DoesNotApply("needs no channel groups")
    fields = {"name": Unprunable.name, "network": Unprunable.name, "prunable": None}
    record = case.run(check_track("residual").model_copy(update=fields), case.target(0.5))
    if record.status != "failed":
        raise CheckFailed(
            f"one linear layer offers no channels, and the run is {record.status}. Ask trial.surgery.groups or fit."
        )
    if not (record.error or "").startswith("NotPrunable:"):
        raise CheckFailed(f"not refused but crashed: {case.reason(record)}. Let bench.NotPrunable through.")
    return "refused with NotPrunable"
