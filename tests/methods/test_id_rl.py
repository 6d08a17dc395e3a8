"""id-rl: rankings, rewards and bounds by hand, its state, its training with sweeps in it, and what it reports."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from bench import Images, NotPrunable, Record, Trial
from bench.checks.method.kit import check_class
from bench.methods._attention import attention_scores
from bench.methods._dqn import Agent, Observations
from bench.methods._sweeps import Action, TrainAndPrune, actions_of, filters_left, l1_scores, reward_of, sweep_points
from bench.methods.id_rl import IDRL, IDRLConfig, subset_dimensions
from bench.trial.phases import calls_of, settle

Make = Callable[..., Trial]
FEW: dict[str, Any] = {"decisions": 3, "images": 40, "updates": 2, "first": 0.0}


class Scripted(Agent):
    """Does what it is told, layer by layer, and keeps what it sees; of the actions allowed, the nearest."""

    def __init__(self, script: Sequence[int]) -> None:
        self.script = list(script)
        self.seen: list[Observations] = []
        self.allowed: list[list[int]] = []
        self.remembered: list[tuple[list[int], float, bool]] = []
        self.followed: list[Observations] = []
        self.updates: list[int] = []

    @property
    def epsilon(self) -> float:
        return 0.0

    def act(self, observation: Observations, allowed: Sequence[int]) -> int:
        self.seen.append(observation)
        self.allowed.append(list(allowed))
        wanted = self.script[(len(self.seen) - 1) % len(self.script)]
        return min(allowed, key=lambda action: abs(action - wanted))

    def remember(
        self, observations: Sequence[Observations], actions: Sequence[int], reward: float, ended: bool
    ) -> None:
        assert len(observations) == len(actions) + 1
        self.remembered.append((list(actions), reward, ended))
        self.followed.append(observations[-1])

    def learn(self, updates: int) -> None:
        self.updates.append(updates)


def pruning(trial: Trial, script: Sequence[int], practice: bool = False, **settings: Any) -> TrainAndPrune:
    trial.config = IDRLConfig(**{**FEW, "reference": "best", **settings})
    return TrainAndPrune(trial, Scripted(script), 10.0, 0.8 if practice else 1.0, practice)


def told(trial: Trial) -> list[tuple[str, Any]]:
    """The trial's calls, as they are made: schedules of trainings and widths after removals."""
    calls: list[tuple[str, Any]] = []
    train, remove = trial.train, trial.surgery.remove

    def told_train(*words: Any, **more: Any) -> Any:
        calls.append(("train", more["schedule"]))
        return train(*words, **more)

    def told_remove(keep: Any) -> None:
        remove(keep)
        calls.append(("remove", [group.width for group in trial.surgery.groups]))

    trial.train, trial.surgery.remove = told_train, told_remove  # type: ignore[method-assign]
    return calls


# -- actions and rewards ------------------------------------------------------------------------------------------


def test_the_actions_are_none_and_each_ranking_with_each_fraction() -> None:
    assert actions_of(IDRLConfig()) == (
        Action("l1", 0.0),
        *(Action("l1", each) for each in (0.05, 0.1, 0.2)),
        *(Action("attention", each) for each in (0.05, 0.1, 0.2)),
    )
    only = actions_of(IDRLConfig(ranking="attention", fractions=(0.5, 0.25)))
    assert only == (Action("attention", 0.0), Action("attention", 0.25), Action("attention", 0.5))


@pytest.mark.parametrize(
    ("fraction", "width", "left"), [(0.2, 20, 16), (0.1, 5, 4), (0.1, 4, 4), (0.2, 2, 2), (0.9, 2, 1), (0.9, 1, 1)]
)
def test_filters_that_stay_are_rounded_and_never_none(fraction: float, width: int, left: int) -> None:
    assert Action("l1", fraction).left(width) == left


@pytest.mark.parametrize(
    ("accuracy", "settings", "reward"),
    [
        (0.9, {}, 0.9 / 0.9 * 1.5),
        (0.89, {}, 0.89 / 0.9 * 1.5),
        (0.86, {}, -0.02),
        (0.86, {"tolerance": 0.05}, 0.86 / 0.9 * 1.5),
        (0.9, {"strength": 3.0}, 2.5),
        (0.45, {"reward": "compression"}, 0.25),
    ],
)
def test_rewards_by_hand(accuracy: float, settings: dict[str, Any], reward: float) -> None:
    assert reward_of(IDRLConfig(**settings), accuracy, reference=0.9, removed=0.5) == pytest.approx(reward)


@pytest.mark.parametrize("settings", [{"last": 0.1}, {"fractions": ()}, {"fractions": (1.0,)}, {"agent": "offline"}])
def test_wrong_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        IDRLConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "points"),
    [
        ({"decisions": 3, "warmup": 0.2, "first": 0.0}, [0.2, 0.4, 0.6]),
        ({"decisions": 3, "first": 1.2}, [0.2, 0.4, 0.6]),  # of 6 epochs
        ({"decisions": 1}, [0.6]),
        ({"decisions": 2, "first": 5.0}, [0.6]),  # the first epochs end behind the last sweep
    ],
)
def test_sweeps_are_evenly_spaced_from_the_first_epochs_to_the_last(
    make_trial: Make, settings: dict[str, Any], points: list[float]
) -> None:
    assert sweep_points(make_trial(), IDRLConfig(**settings), 1.0, 1.0) == pytest.approx(points)


def test_there_are_no_more_sweeps_than_leave_a_batch_between_them(make_trial: Make) -> None:
    points = sweep_points(make_trial(), IDRLConfig(decisions=50, first=0.0), 1.0, 1.0)  # 36 steps, half of them between
    assert len(points) == 19
    assert points[0] == pytest.approx(0.1) and points[-1] == 0.6


def test_progress_of_the_training_is_no_success_of_a_sweep(make_trial: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    work = pruning(make_trial(target="auto"), [0], practice=True, tolerance=1.0, reference="before")
    # before each sweep, right after it (recalibrated), and so on to the end
    accuracies = iter([0.4, 0.3, 0.8, 0.8, 0.9, 0.45, 0.95])
    asked: list[bool] = []

    def evaluated(recalibrate: bool) -> float:
        asked.append(recalibrate)
        return next(accuracies)

    monkeypatch.setattr(work, "_evaluated", evaluated)
    work.run()
    assert isinstance(work.agent, Scripted)
    assert asked == [False, True, False, True, False, True, False]
    assert [reward for _, reward, _ in work.agent.remembered] == pytest.approx([0.75, 1.0, 0.5])


def test_a_uniform_agent_acts_by_lot_to_the_end_and_learns_nothing(
    make_trial: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = make_trial(target="macs=0.5")
    trial.config = IDRLConfig(**FEW, agent="uniform")
    monkeypatch.setattr(Agent, "learn", None)
    IDRL().prune(trial)
    points = [point.values for point in calls_of(trial).curve if "epsilon" in point.values]
    assert points and all(point["epsilon"] == 1.0 for point in points)


# -- rankings -----------------------------------------------------------------------------------------------------


def test_attention_is_of_what_a_channel_passes_on(make_trial: Make) -> None:
    trial = make_trial()
    with torch.no_grad():
        calls_of(trial).guard.disarm()
        trial.network.bn1.weight.copy_(torch.tensor([1.0, 2, 3, 4, 5, 6, 7, 8]))
        trial.network.bn1.bias[7] = -1000.0  # ReLU lets nothing of it through
        calls_of(trial).guard.arm()
    scores = attention_scores(trial, trial.surgery.groups, 20, 2.0)
    assert scores["conv1"].argmin() == 7
    assert scores["conv1"][7] == 0.0
    assert scores["conv1"].norm() == pytest.approx(1.0)
    settle(trial)
    with torch.no_grad():
        images, _ = next(trial._passes.data.plain_training_batches(images=20))
        maps = trial.network.bn1(trial.network.conv1(images)).relu()
    energy = maps.square().sum((2, 3)).mean(0)
    torch.testing.assert_close(scores["conv1"], energy / energy.norm())
    assert trial.ledger.phases["search"].images_forward == 20


class Tied(nn.Module):
    """Two convolutions without BatchNorm that an add ties, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.inner = nn.Conv2d(8, 8, 3, padding=1)
        self.fc = nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.stem(images).relu()
        return self.fc((hidden + self.inner(hidden)).relu().mean((2, 3)))


def test_tied_layers_are_ranked_by_the_sum_over_them(make_trial: Make) -> None:
    trial = make_trial(Tied())
    (group,) = trial.surgery.groups
    network = trial.network
    norms = (network.stem.weight.abs().flatten(1).sum(1) + network.inner.weight.abs().flatten(1).sum(1)).detach()
    torch.testing.assert_close(l1_scores([group])["stem"], norms)
    found = attention_scores(trial, [group], 16, 1.0)["stem"]
    settle(trial)
    with torch.no_grad():
        images, _ = next(trial._passes.data.plain_training_batches(images=16))
        stem = network.stem(images).relu()
        rows = [each.relu().sum((2, 3)).mean(0) for each in (stem, network.inner(stem))]
    torch.testing.assert_close(found, sum(row / row.norm() for row in rows))


# -- the training with sweeps in it -------------------------------------------------------------------------------


def test_training_goes_on_in_one_schedule_between_the_sweeps(make_trial: Make) -> None:
    trial = make_trial(target="auto", budget=10.0)
    work = pruning(trial, [3])  # a fifth of each layer by its norms
    calls = told(trial)
    work.run()
    assert [name for name, _ in calls] == ["train", *["remove", "train"] * 3]
    schedules = [what for name, what in calls if name == "train"]
    assert schedules[0][0] == 0.0 and schedules[-1][1] == 1.0
    assert [end for _, end in schedules] == pytest.approx([0.1, 0.35, 0.6, 1.0])
    assert all(before[1] == after[0] for before, after in pairwise(schedules))
    assert [what for name, what in calls if name == "remove"] == [[6, 5], [5, 4], [4, 3]]
    assert trial.ledger.left < 0.2


def test_a_sweep_that_removes_nothing_makes_no_call(make_trial: Make) -> None:
    trial = make_trial(target="auto")
    work = pruning(trial, [0])
    calls = told(trial)
    work.run()
    assert [name for name, _ in calls] == ["train"] * 4
    assert filters_left(work.dense, trial.surgery.groups) == (1.0, 1.0)


def test_the_filters_that_rank_lowest_go(make_trial: Make) -> None:
    trial = make_trial(target="auto")
    work = pruning(trial, [3, 0], decisions=1, last=0.2, warmup=0.0)
    kept: list[Tensor] = []
    norms: list[Tensor] = []
    remove = trial.surgery.remove

    def told_remove(keep: Any) -> None:
        norms.append(l1_scores(trial.surgery.groups)["conv1"])
        kept.append(keep["conv1"])
        remove(keep)

    trial.surgery.remove = told_remove  # type: ignore[method-assign]
    work.run()
    assert sorted(kept[0].tolist()) == sorted(norms[0].argsort(descending=True)[:6].tolist())


def test_each_layers_decision_gets_its_sweeps_reward(make_trial: Make) -> None:
    trial = make_trial(target="auto", budget=10.0)
    work = pruning(trial, [3, 1], practice=True)
    agent = work.agent
    assert isinstance(agent, Scripted)
    work.run()
    assert [actions for actions, _, _ in agent.remembered] == [[3, 1]] * 3
    assert [ended for _, _, ended in agent.remembered] == [False, False, True]
    assert agent.updates == [2, 2, 2]
    logged = [point.values["reward"] for point in calls_of(trial).curve if "reward" in point.values]
    assert logged == [reward for _, reward, _ in agent.remembered]
    # what follows a sweep is what is seen at the first layer of the next one
    assert np.array_equal(agent.followed[0], agent.seen[2]) and np.array_equal(agent.followed[1], agent.seen[4])


def test_nobody_looks_at_the_end_of_the_run_itself(make_trial: Make) -> None:
    trial = make_trial(target="auto", budget=10.0)
    work = pruning(trial, [3])
    work.run()
    assert isinstance(work.agent, Scripted)
    assert [ended for _, _, ended in work.agent.remembered] == [False, False]
    assert trial.ledger.phases["search"].images_forward == 3 * 32


@pytest.mark.parametrize(("reference", "rewards"), [((), [1.25, 0.8, 0.875]), ((0.5, 0.25, 0.7), [1.0, 1.6, 1.0])])
def test_a_sweep_is_compared_with_the_best_so_far_or_with_an_unpruned_training(
    make_trial: Make, monkeypatch: pytest.MonkeyPatch, reference: Sequence[float], rewards: list[float]
) -> None:
    work = pruning(make_trial(target="auto"), [0], practice=True, tolerance=1.0)
    accuracies = iter([0.4, 0.5, 0.4, 0.4375] if not reference else [0.4, 0.5, 0.4, 0.7])

    def look() -> bool:
        work.accuracy = next(accuracies)
        return True

    monkeypatch.setattr(work, "_look", look)
    work.run(reference)
    assert isinstance(work.agent, Scripted)
    assert [reward for _, reward, _ in work.agent.remembered] == pytest.approx(rewards)


def test_the_state_is_what_it_says(make_trial: Make) -> None:
    trial = make_trial(target="auto", budget=10.0)
    work = pruning(trial, [3, 0], decisions=2)
    work.run()
    assert isinstance(work.agent, Scripted)
    first, second, third = work.agent.seen[:3]
    assert first.dtype == np.float32 and first.shape == (11,)
    #                 place, inputs, width, kernel, own left, filters, size
    assert first[:7] == pytest.approx([0.0, 1 / 8, 1.0, 1.0, 1.0, 1.0, 1.0])
    size = (6 * 9 * 64 + 6 * 6 * 9 * 64 + 6 * 4) / 32_280
    assert second[:7] == pytest.approx([0.5, 1.0, 6 / 8, 1.0, 1.0, 12 / 14, size])
    assert third[:7] == pytest.approx([0.0, 1 / 6, 6 / 8, 1.0, 6 / 8, 12 / 14, size])
    assert first[9] == pytest.approx(0.1) and third[9] == pytest.approx(0.6)
    assert first[10] == pytest.approx(10 / 50)
    assert 0 < third[7] <= 1 and third[8] == pytest.approx(third[7] - first[7], abs=1e-6)


@pytest.mark.parametrize("script", [[0], [3], [6], [0, 6], [2, 5]])
@pytest.mark.parametrize("target", ["macs=0.5", "macs=0.2", "params=0.5"])
def test_whatever_the_agent_wants_the_run_ends_at_the_target(
    make_trial: Make, script: Sequence[int], target: str
) -> None:
    trial = make_trial(target=target)
    work = pruning(trial, script, decisions=4, probe=8)
    sizes: list[float] = []
    remove = trial.surgery.remove

    def told_remove(keep: Any) -> None:
        remove(keep)
        sizes.append(trial.surgery.ratio())

    trial.surgery.remove = told_remove  # type: ignore[method-assign]
    work.run()
    wanted = trial.target.ratio or 0.0
    assert sizes[-1] == pytest.approx(wanted, abs=0.07)
    assert all(size > wanted - 0.07 for size in sizes)
    if len(sizes) > 1:  # not all is left to the last sweep
        assert sizes[-2] < max(0.9, wanted + 0.1)


def test_actions_that_would_pass_the_target_are_not_allowed(make_trial: Make) -> None:
    trial = make_trial(target="macs=0.85")
    work = pruning(trial, [3], fractions=(0.1, 0.5))
    work.run()
    assert isinstance(work.agent, Scripted)
    assert work.agent.allowed[0] == [0, 1, 3]  # 7 of conv1's 8 filters leave 0.875, half of them 0.5
    assert work.agent.allowed[-1] == [0, 1, 2, 3, 4]  # the last sweep is fitted: fractions are shares of each other


def test_without_a_budget_for_looking_it_prunes_all_the_same(make_trial: Make) -> None:
    trial = make_trial(search_share=1e-9)
    work = pruning(trial, [6])
    work.run()
    assert isinstance(work.agent, Scripted)
    assert work.agent.remembered == []
    assert trial.surgery.ratio() == pytest.approx(0.5, abs=0.07)
    assert trial.ledger.phases["search"].images_forward == 0


# -- the method ---------------------------------------------------------------------------------------------------


def test_both_ways_of_averaging_are_reported_with_both_dimensions(make_trial: Make) -> None:
    trial = make_trial(target="macs=0.5")
    trial.config = IDRLConfig(**FEW)
    IDRL().prune(trial)
    last = calls_of(trial).curve[-1].values
    conv1, conv2 = (group.width for group in trial.surgery.groups)
    assert last["filters_removed_total"] == pytest.approx(1 - (conv1 + conv2) / 14)
    assert last["filters_removed_mean_of_layers"] == pytest.approx(1 - (conv1 / 8 + conv2 / 6) / 2)
    assert (last["dimension"] or 0) > 1 and (last["dimension_two_nn"] or 0) > 1


def test_a_target_that_cannot_be_met_is_refused_before_any_work(make_trial: Make) -> None:
    trial = make_trial(target="macs=0.001")
    trial.config = IDRLConfig(**FEW)
    with pytest.raises(NotPrunable):
        IDRL().prune(trial)
    assert trial.ledger.total.macs == 0


def practised(trial: Trial) -> list[tuple[float, int | None]]:
    """The practices as they begin: share and classes."""
    seen: list[tuple[float, int | None]] = []
    practice = trial.practice

    def told_practice(share: float, classes: int | None = None) -> Any:
        seen.append((share, classes))
        return practice(share, classes)

    trial.practice = told_practice  # type: ignore[method-assign]
    return seen


def test_a_pretrained_agent_practises_on_the_subsets_and_pays_for_it(make_trial: Make) -> None:
    trial = make_trial(target="macs=0.5", budget=12.0)
    trial.config = IDRLConfig(**FEW, agent="pretrained", subsets=(10, 4, 2), practice=0.5, k=5)
    seen = practised(trial)
    IDRL().prune(trial)
    assert seen == [(0.25, 4), (0.25, 2)]  # there are no ten classes
    assert trial.ledger.spent == pytest.approx(12.0, abs=0.5)
    assert trial.surgery.ratio() == pytest.approx(0.5, abs=0.07)
    spent = [point.spent for point in calls_of(trial).curve if point.phase == "prune"]
    assert min(spent) > 4.5  # both practices are behind the first point of the run's own curve


def test_an_online_agent_does_not_practise_unless_for_a_reference(make_trial: Make) -> None:
    for reference, expected in (("best", []), ("unpruned", [(0.25, None)])):
        trial = make_trial(target="macs=0.5")
        trial.config = IDRLConfig(**FEW, reference=reference)
        seen = practised(trial)
        IDRL().prune(trial)
        assert seen == expected


def test_subsets_dimensions_are_of_equally_many_images() -> None:
    drawn = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 4
    pixels = torch.randint(0, 256, (400, 1, 4, 4), generator=drawn, dtype=torch.uint8)
    pixels[labels < 2, :, 1:] = 0  # the first two classes have four pixels, the others sixteen
    config = IDRLConfig(subsets=(4, 3, 2, 7), k=5)
    found = subset_dimensions(Images(pixels, labels), config)
    assert set(found) == {4, 3, 2}
    assert 3 < found[2] < 5 < found[4]
    same = subset_dimensions(Images(pixels[labels < 2], labels[labels < 2]), config)
    assert same == {2: found[2]}
    assert subset_dimensions(Images(pixels[:20], labels[:20]), config)[4] > 0
    assert 2 not in subset_dimensions(Images(pixels[:8], labels[:8]), config)


def test_the_same_seed_prunes_the_same_and_another_one_does_not(make_trial: Make) -> None:
    ends = []
    for seed in (0, 0, 1):
        trial = make_trial(target="auto", seed=seed)
        trial.config = IDRLConfig(**FEW)
        IDRL().prune(trial)
        ends.append({name: tensor.clone() for name, tensor in trial.network.state_dict().items()})
    first, again, other = ends
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(first[name].shape != other[name].shape or not torch.equal(first[name], other[name]) for name in first)


def test_a_run_starts_untrained_and_trains_itself_to_the_end(run: Callable[..., Record]) -> None:
    record = run("id-rl", settings=("decisions=3",))
    assert record.status == "ok", record.error
    assert record.ledger["dense"].macs == record.ledger["finetune"].macs == 0
    assert record.spent == pytest.approx(record.budget.amount, rel=0.05)
    assert record.curve[-1].values["filters_removed_total"] == pytest.approx(record.ratios.filters_removed)  # type: ignore[union-attr]


@pytest.mark.slow
def test_the_agent_decides_alone_at_auto(run: Callable[..., Record]) -> None:
    record = run("id-rl", "auto", settings=("decisions=3",))
    assert record.status == "ok", record.error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "only"),
    [
        (("decisions=3",), ("targets", "budget in epochs", "guard", "residual block")),
        (("agent=pretrained", "decisions=3"), ("resume", "guard")),
        pytest.param((), None, marks=pytest.mark.nightly),
        pytest.param(
            ("agent=pretrained", "decisions=3"), ("budget in epochs", "plain network"), marks=pytest.mark.nightly
        ),
    ],
    ids=["online", "pretrained", "online, whole", "pretrained, whole"],
)
def test_it_keeps_to_the_contract(settings: tuple[str, ...], only: tuple[str, ...] | None) -> None:
    results = check_class(IDRL, settings, only=only)
    assert {result.name: result.detail for result in results if result.outcome != "passed"} == {}


def test_asking_for_methods_loads_no_agent() -> None:
    code = "import sys, bench.methods.id_rl; print([n for n in ('gymnasium', 'stable_baselines3') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
