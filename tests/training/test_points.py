"""Where observers look: five points or more of every call, its end and the epochs' ends, in steps by hand."""

from collections.abc import Callable, Mapping, Sequence

import pytest
import torch
from torch import Tensor, nn

from bench import ChannelGroup, Observer, Trial
from bench.training.hooks import Epoch, History, Observation
from bench.training.points import Points, steps_of


class First(Observer):
    """The first weight of each layer, and how many channels its groups have."""

    name = "first"

    def observe(self, network: nn.Module, groups: Sequence[ChannelGroup]) -> Mapping[str, Tensor]:
        """A scalar for the network, a value a channel for each group."""
        norms = {group.name: group.norms().detach().clone() for group in groups}
        return {**norms, "whole": network.get_parameter("fc.weight").detach()[0, 0].clone()}


@pytest.mark.parametrize(
    ("images", "train", "batch", "steps"),
    [
        (96, 96, 16, 6),
        (95, 96, 16, 5),  # the last batch does not fit
        (200, 100, 32, 8),  # epochs of 32, 32, 32 and 4
        (199, 100, 32, 7),
        (97, 97, 32, 3),  # a single image is left out: an epoch has 96, and the next one needs 32 more
        (128, 97, 32, 4),
        (15, 96, 16, 0),
    ],
)
def test_steps_that_images_pay_for(images: int, train: int, batch: int, steps: int) -> None:
    assert steps_of(images, train, batch) == steps


def looks(points: Points, steps: int) -> list[int]:
    return [step for step in range(1, steps + 1) if points.due(step, (step - 1) / steps, step / steps)]


@pytest.mark.parametrize(
    ("steps", "at"),
    [
        (5, [1, 2, 3, 4, 5]),
        (7, [2, 3, 5, 6, 7]),
        (100, [20, 40, 60, 80, 100]),
        (3, [1, 2, 3]),
    ],
)
def test_points_are_evenly_spaced(steps: int, at: list[int]) -> None:
    assert looks(Points(steps), steps) == at


def test_where_time_binds_there_are_more() -> None:
    assert len(looks(Points(None), 40)) == 10


@pytest.mark.parametrize(
    ("epochs", "at"),
    [
        (1.0, [2, 3, 4, 5, 6]),
        (0.85, [1, 2, 3, 4, 5]),
        (3.0, [4, 6, 8, 11, 12, 15, 18]),  # ends of epochs at 6, 12, 18; fifths of 18 at 4, 8, 11, 15, 18
    ],
)
def test_a_call_is_seen_at_its_fifths_and_at_the_ends_of_epochs(
    make_trial: Callable[..., Trial], epochs: float, at: list[int]
) -> None:
    history = make_trial(observers=[First()]).train(epochs=epochs)
    assert [round(seen.epochs * 6) for seen in history.observations] == at  # six steps an epoch
    values = [seen["whole"].item() for seen in history.observed(First)]
    assert len(set(values)) == len(values)


def test_observers_do_not_change_the_training(make_trial: Callable[..., Trial]) -> None:
    plain, watched = make_trial(), make_trial(observers=[First()])
    plain.train(epochs=1.5)
    watched.train(epochs=1.5)
    assert all(torch.equal(a, b) for a, b in zip(plain.network.parameters(), watched.network.parameters(), strict=True))


def test_history_of_channels_follows_a_removal() -> None:
    rows = {
        "conv": torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]),
        "other": torch.arange(3.0),
        "scalar": torch.ones(()),
    }
    history = History((Epoch(1.0, 0.5, 0.1),), (Observation(0.5, {"norms": rows}),))
    after = history.after_removal({"conv": 3, "scalar": 1}, {"conv": torch.tensor([0, 2]), "scalar": torch.tensor([0])})
    (seen,) = after.observations
    assert seen.observed["norms"]["conv"].tolist() == [[1.0, 3.0], [4.0, 6.0]]
    assert seen.observed["norms"]["other"].tolist() == [0.0, 1.0, 2.0]
    assert after.epochs == history.epochs
