"""id-rl: rankings, rewards and bounds by hand, its state, its training with sweeps in it, and what it reports."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from bench import Images, NotPrunable, Record, Trial, rl
from bench.checks.method.kit import check_class
from bench.methods._maps import channel_scores
from bench.methods.id_rl import IDRL, IDRLConfig, Sweeps, attention, reward_of, subset_dimensions, sweep_points
from bench.trial.phases import calls_of, settle

Make = Callable[..., Trial]
FEW: dict[str, Any] = {"decisions": 3, "images": 40, "updates": 2, "first": 0.0}


class Scripted:
    """An agent that does what it is told, layer by layer, and keeps what it sees."""

    def __init__(self, env: rl.PruningEnv, script: Sequence[int]) -> None:
        self.env, self.script = env, script
        self.seen: list[Any] = []

    def learn(self, total_timesteps: int) -> None:
        done = True
        for number in range(total_timesteps):
            if done:
                seen, _ = self.env.reset()
            self.seen.append(seen)
            seen, _, done, _, _ = self.env.step(self.script[number % len(self.script)])


def swept(trial: Trial, script: Sequence[int], practice: bool = False, **settings: Any) -> tuple[Sweeps, Scripted]:
    """A training with sweeps, to its end."""
    trial.config = IDRLConfig(**{**FEW, **settings})
    part = 0.8 if practice else 1.0
    sweeps = Sweeps(trial, 10.0, part, to_the_end=not practice)
    agent = Scripted(sweeps.env, script)
    sweeps.begin()
    rl.learn(sweeps.env, lambda env, seed: agent, len(sweeps.points), trial.rng)
    return sweeps, agent


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


def test_the_actions_are_none_and_each_ranking_with_each_fraction(make_trial: Make) -> None:
    trial = make_trial(target="auto")
    trial.config = IDRLConfig(fractions=(0.5, 0.25))
    sweeps = Sweeps(trial, 10.0, 1.0, points=[0.5])
    assert sweeps.actions == [("l1", 0.0), *((ranking, f) for ranking in ("l1", "attention") for f in (0.25, 0.5))]
    assert sweeps.env.action_space.n == 5


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
    trial = make_trial()
    trial.config = IDRLConfig(**settings)
    assert sweep_points(trial, 1.0, 1.0) == pytest.approx(points)


def test_there_are_no_more_sweeps_than_leave_a_batch_between_them(make_trial: Make) -> None:
    trial = make_trial()
    trial.config = IDRLConfig(decisions=50, first=0.0)
    points = sweep_points(trial, 1.0, 1.0)  # 36 steps, half of them between
    assert len(points) == 19
    assert points[0] == pytest.approx(0.1) and points[-1] == 0.6


def looking(monkeypatch: pytest.MonkeyPatch, *accuracies: float) -> list[bool]:
    """What is looked at has these accuracies; whether statistics were collected anew, look by look."""
    left, asked = iter(accuracies), list[bool]()

    def now(self: Sweeps, recalibrate: int) -> float:
        asked.append(bool(recalibrate))
        return next(left)

    monkeypatch.setattr(Sweeps, "accuracy_now", now)
    return asked


def test_progress_of_the_training_is_no_success_of_a_sweep(make_trial: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    # before each sweep, right after it (recalibrated), and so on to the end
    asked = looking(monkeypatch, 0.4, 0.3, 0.8, 0.8, 0.9, 0.45, 0.95)
    sweeps, _ = swept(make_trial(target="auto"), [0], practice=True, tolerance=1.0)
    assert asked == [False, True, False, True, False, True, False]
    assert [reward for _, reward in sweeps.env.walks] == pytest.approx([0.75, 1.0, 0.5])


def test_a_sweep_may_be_compared_with_an_unpruned_training_at_the_same_point(
    make_trial: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking(monkeypatch, 0.2, 0.5, 0.25, 0.7, 0.4, 9.0, 0.5, 9.0, 0.4, 9.0)  # the run's last sweep is not judged
    trial = make_trial(target="auto", budget=24.0)
    trial.config = IDRLConfig(**{**FEW, "agent": "uniform", "reference": "unpruned", "tolerance": 1.0, "strength": 0.0})
    IDRL().prune(trial)
    rewards = [point.values["reward"] for point in calls_of(trial).curve if "reward" in point.values]
    assert rewards == pytest.approx([0.5 / 0.5, 0.4 / 0.25])


def test_a_uniform_agent_acts_by_lot_to_the_end(make_trial: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = make_trial(target="macs=0.5")
    trial.config = IDRLConfig(**FEW, agent="uniform")
    monkeypatch.setattr(rl, "dqn", lambda *_words, **_more: pytest.fail("an agent that learns"))
    IDRL().prune(trial)
    assert calls_of(trial).curve[-2].values["search/winner_in_warmup"] == 0.0


# -- rankings -----------------------------------------------------------------------------------------------------


def test_attention_is_of_what_a_channel_passes_on(make_trial: Make) -> None:
    trial = make_trial()
    with torch.no_grad():
        calls_of(trial).guard.disarm()
        trial.network.bn1.weight.copy_(torch.tensor([1.0, 2, 3, 4, 5, 6, 7, 8]))
        trial.network.bn1.bias[7] = -1000.0  # ReLU lets nothing of it through
        calls_of(trial).guard.arm()
    scores = channel_scores(trial, attention, 20)
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
    network = trial.network
    found = channel_scores(trial, attention, 16)["stem"]
    settle(trial)
    with torch.no_grad():
        images, _ = next(trial._passes.data.plain_training_batches(images=16))
        stem = network.stem(images).relu()
        rows = [each.relu().square().sum((2, 3)).mean(0) for each in (stem, network.inner(stem))]
    torch.testing.assert_close(found, sum(row / row.norm() for row in rows))


def test_each_layer_is_ranked_as_its_action_says(make_trial: Make) -> None:
    trial = make_trial(target="auto", budget=10.0)
    trial.config = IDRLConfig(**FEW)
    sweeps = Sweeps(trial, 10.0, 1.0, points=[0.5])
    norms = {group.name: group.norms().detach() for group in trial.surgery.groups}
    found = sweeps.ranking({"conv1": 3, "conv2": 6})
    assert torch.equal(found["conv1"], norms["conv1"])
    assert torch.equal(found["conv2"], channel_scores(trial, attention, sweeps.images)["conv2"])


# -- the training with sweeps in it -------------------------------------------------------------------------------


def test_training_goes_on_in_one_schedule_between_the_sweeps(make_trial: Make) -> None:
    trial = make_trial(target="auto", budget=10.0)
    calls = told(trial)
    swept(trial, [3])  # a fifth of each layer by its norms
    assert [name for name, _ in calls] == ["train", *["remove", "train"] * 3]
    schedules = [what for name, what in calls if name == "train"]
    assert schedules[0][0] == 0.0 and schedules[-1][1] == 1.0
    assert [end for _, end in schedules] == pytest.approx([0.1, 0.35, 0.6, 1.0])
    assert all(before[1] == after[0] for before, after in pairwise(schedules))
    assert [what for name, what in calls if name == "remove"] == [[6, 5], [5, 4], [4, 3]]
    assert trial.ledger.left < 0.2


def test_a_sweep_that_removes_nothing_makes_no_call(make_trial: Make) -> None:
    trial = make_trial(target="auto")
    calls = told(trial)
    swept(trial, [0])
    assert [name for name, _ in calls] == ["train"] * 4
    assert trial.surgery.ratio() == 1


def test_the_filters_that_rank_lowest_go(make_trial: Make) -> None:
    trial = make_trial(target="auto")
    kept: list[Tensor] = []
    norms: list[Tensor] = []
    remove = trial.surgery.remove

    def told_remove(keep: Any) -> None:
        norms.append(trial.surgery.groups[0].norms().detach())
        kept.append(keep["conv1"])
        remove(keep)

    trial.surgery.remove = told_remove  # type: ignore[method-assign]
    swept(trial, [3, 0], decisions=1, last=0.2, warmup=0.0)
    assert sorted(kept[0].tolist()) == sorted(norms[0].argsort(descending=True)[:6].tolist())


def test_nobody_looks_at_the_end_of_the_run_itself(make_trial: Make) -> None:
    trial = make_trial(target="auto", budget=10.0)
    sweeps, _ = swept(trial, [3])
    assert len(sweeps.env.walks) == 3
    # three looks, and three times right after a sweep with as many images for the statistics
    assert trial.ledger.phases["search"].images_forward == (3 + 3 * 2) * sweeps.images


def test_the_agent_sees_size_accuracy_its_change_progress_and_dimension(
    make_trial: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking(monkeypatch, 0.25, 0.5, 0.75, 0.5)
    _, agent = swept(make_trial(target="auto", budget=10.0), [3, 0], decisions=2)
    first, second, third = (seen[-5:].tolist() for seen in agent.seen[:3])
    assert first == second == pytest.approx([1, 0.25, 0.5 + 0.25 / 2, 0.1, 10 / 50])
    size = (6 * 9 * 64 + 6 * 6 * 9 * 64 + 6 * 4) / 32_280
    assert third == pytest.approx([size, 0.75, 0.5 + 0.5 / 2, 0.6, 10 / 50])


@pytest.mark.parametrize("script", [[0], [3], [6], [0, 6], [2, 5]])
@pytest.mark.parametrize("target", ["macs=0.5", "macs=0.2", "params=0.5"])
def test_whatever_the_agent_wants_the_run_ends_at_the_target(
    make_trial: Make, script: Sequence[int], target: str
) -> None:
    trial = make_trial(target=target)
    sizes: list[float] = []
    remove = trial.surgery.remove

    def told_remove(keep: Any) -> None:
        remove(keep)
        sizes.append(trial.surgery.ratio())

    trial.surgery.remove = told_remove  # type: ignore[method-assign]
    swept(trial, script, decisions=4, probe=8)
    wanted = trial.target.ratio or 0.0
    assert sizes[-1] == pytest.approx(wanted, abs=0.07)
    assert all(size > wanted - 0.07 for size in sizes)
    if len(sizes) > 1:  # not all is left to the last sweep
        assert sizes[-2] < max(0.9, wanted + 0.1)


def test_without_a_budget_for_looking_it_prunes_all_the_same(make_trial: Make) -> None:
    trial = make_trial(search_share=1e-9)
    swept(trial, [6])
    assert trial.surgery.ratio() == pytest.approx(0.5, abs=0.07)
    assert trial.ledger.phases["search"].images_forward == 0


# -- the method ---------------------------------------------------------------------------------------------------


def test_the_dimensions_and_what_the_search_did_are_reported(make_trial: Make) -> None:
    trial = make_trial(target="macs=0.5")
    trial.config = IDRLConfig(**FEW)
    IDRL().prune(trial)
    logged: dict[str, Any] = {}
    for point in calls_of(trial).curve:
        logged |= point.values
    assert logged["dimension"] > 1 and logged["dimension_two_nn"] > 1
    assert (logged["search/episodes"], logged["episode"]) == (3, 3)
    assert logged["search/winner_in_warmup"] == float(logged["search/winner"] <= 2)  # explore is 0.7 of three sweeps
    assert -1 <= logged["search/rank_correlation"] <= 1


def test_one_agent_goes_through_all_practices_and_the_run(make_trial: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    real = rl.dqn
    monkeypatch.setattr(rl, "dqn", lambda *words, **more: made.append(real(*words, **more)) or made[-1])
    trial = make_trial(target="macs=0.5", budget=12.0)
    trial.config = IDRLConfig(**FEW, agent="pretrained", subsets=(4, 2), practice=0.5, k=5, explore=1.0)
    IDRL().prune(trial)
    (agent,) = made
    assert agent.num_timesteps == agent.replay_buffer.pos == 3 * 3 * 2  # trainings, sweeps, layers
    assert agent.exploration_rate == pytest.approx(0.05)


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
    for reference, expected in (("before", []), ("unpruned", [(0.25, None)])):
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
    assert record.search is not None and record.search.episodes == 3


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
