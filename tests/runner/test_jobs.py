"""From a command to jobs, and what is refused before any work starts."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from bench import Config, Method, Trial, UsageError
from bench.runner.jobs import Job, RunRequest, make_plan, shard
from bench.runner.jobs import plan as whole_plan
from bench.trial.methods import method_classes


class SettingsOfEveryKind(Config):
    """One of each."""

    share: float = Field(0.5, gt=0, le=1)
    sign: Literal[1, -1] = 1
    rounds: tuple[int, ...] = (1, 2)
    fast: bool = False
    label: str = ""


class Settable(Method):
    """Does nothing."""

    name = "settable"
    reference = "a toy"
    Config = SettingsOfEveryKind

    def prune(self, trial: Trial) -> None:
        """Never run."""


@pytest.fixture
def plan(smoke_track: Path) -> Callable[..., list[Job]]:
    """`plan(methods=("l1",), ...)` on the smoke track."""
    return lambda **asked: make_plan(RunRequest(**{"tracks": (str(smoke_track),), **asked}))


def labels(jobs: list[Job]) -> list[str]:
    return [job.label for job in jobs]


def test_a_plan_is_breadth_first_by_seeds_then_targets_each_run_once(plan: Callable[..., list[Job]]) -> None:
    jobs = plan(methods=("l1", "random", "l1"), targets=("macs=0.5", "macs=0.25", "macs=0.50"), seeds=(0, 1, 0))
    assert labels(jobs) == [
        f"{method} smoke macs={ratio} seed {seed}"
        for seed in (0, 1)
        for ratio in (0.5, 0.25)
        for method in ("l1", "random")
    ]


def test_without_a_target_the_tracks_own_are_taken(plan: Callable[..., list[Job]]) -> None:
    assert [str(job.spec.target) for job in plan(methods=("l1",))] == ["macs=0.5", "macs=0.25"]


def test_dense_has_no_target_and_one_run_a_seed(plan: Callable[..., list[Job]]) -> None:
    jobs = plan(methods=("dense",), targets=("macs=0.5", "macs=0.25"), seeds=(0, 1))
    assert labels(jobs) == ["dense smoke seed 0", "dense smoke seed 1"]


def test_all_means_every_method_controls_first(plan: Callable[..., list[Job]]) -> None:
    jobs = plan(methods=("all",), targets=("macs=0.5",))
    planned = list(dict.fromkeys(job.spec.method for job in jobs))
    fitting = [
        name for name, m in method_classes().items() if m.kind == "structured" and not m.needs - {"dense-history"}
    ]
    assert planned == fitting  # LeNet-5 has no BatchNorm
    assert planned[:3] == ["dense", "random", "scratch"]


def test_unstructured_methods_take_sizes_in_parameters_and_auto_only_with_a_constraint_of_their_own(
    tmp_path: Path, smoke_track: Path
) -> None:
    track = tmp_path / "both.toml"
    track.write_text(smoke_track.read_text().replace('"macs=0.25"', '"params=0.1", "auto"'))
    jobs = make_plan(RunRequest(("all",), (str(track),)))
    targets = {name: [str(j.spec.target) for j in jobs if j.spec.method == name] for name in method_classes()}
    assert targets["olmp"] == ["params=0.1", "auto"]
    assert targets["magnitude"] == targets["random-weights"] == ["params=0.1"]
    assert targets["hbfp"] == targets["l1"] == ["macs=0.5"]


def test_every_job_carries_the_observers_of_the_whole_plan(plan: Callable[..., list[Job]]) -> None:
    jobs = plan(methods=("l1", "hbfp"), targets=("macs=0.5",))
    assert [[each.name for each in job.observers] for job in jobs] == [["filter-l1"], ["filter-l1"]]


def test_a_command_makes_its_one_row_again(plan: Callable[..., list[Job]], smoke_track: Path) -> None:
    asked = {"methods": ("hbfp", "l1"), "targets": ("macs=0.5", "macs=0.25"), "seeds": (3, 4), "budget": "5ep"}
    for job in plan(**asked, settings=("pairs=0.2", "max_drop=0.5", "scope=global")):
        words = shlex.split(job.command)
        options = list(zip(words[2::2], words[3::2], strict=True))
        values = {key: tuple(value for name, value in options if name == key) for key, _ in options}
        again = RunRequest(
            methods=values["--method"],
            tracks=values["--track"],
            targets=values["--target"],
            seeds=tuple(map(int, values["--seed"])),
            settings=values["--set"],
            budget=values["--budget"][0],
        )
        assert words[:2] == ["bench", "run"]
        assert [each.spec.run_id for each in make_plan(again)] == [job.spec.run_id]


def test_settings_of_every_type_are_read_from_text(
    plan: Callable[..., list[Job]], install: Callable[[type[Method]], None]
) -> None:
    install(Settable)
    texts = ("share=0.25", "sign=-1", "rounds=[3, 4]", "fast=true", "label=12")
    (job,) = plan(methods=("settable",), targets=("macs=0.5",), settings=texts)
    assert job.spec.config == {"share": 0.25, "sign": -1, "rounds": [3, 4], "fast": True, "label": "12"}


def test_a_setting_goes_to_every_method_that_has_it_or_to_the_named_one(plan: Callable[..., list[Job]]) -> None:
    jobs = plan(methods=("l1", "hbfp"), targets=("macs=0.5",), settings=("l1.scope=global", "pairs=0.2"))
    assert {job.spec.method: job.spec.config.get("scope") for job in jobs} == {"l1": "global", "hbfp": None}
    assert {job.spec.method: job.spec.config.get("pairs") for job in jobs} == {"l1": None, "hbfp": 0.2}


def test_a_budget_in_seconds_binds_in_seconds(plan: Callable[..., list[Job]]) -> None:
    (job,) = plan(methods=("dense",), budget="30s")
    assert (job.spec.unit, job.spec.track.budget.device_seconds) == ("device_seconds", 30)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            {"methods": ("l1",), "targets": ("auto",)},
            "l1 is structured and cannot be run at auto. Give --target macs=0.5",
        ),
        ({"methods": ("magnitude",), "targets": ("macs=0.5",)}, "magnitude is unstructured and .* --target params=0.1"),
        ({"methods": ("hbpf",)}, "unknown method 'hbpf'. Did you mean 'hbfp'"),
        ({"methods": ("magnitude", "random-weights")}, "magnitude is unstructured and cannot be run at macs=0.5, macs"),
        ({"tracks": ("digits",)}, "unknown track 'digits'. Did you mean 'digits-lenet5'"),
        ({"targets": ("macs=1.5",)}, r"macs=1.5 is outside \(0, 1\)"),
        ({"targets": ("none",)}, "target none is for the dense control; hbfp needs"),
        ({"seeds": (-1,)}, "seed -1 is out of range. Use 0"),
        ({"seeds": (2**63,)}, "seed 9223372036854775808 is out of range"),
        ({"budget": "30"}, "budget '30': use a positive number of dense epochs"),
        ({"budget": "device_seconds"}, "no budget in device_seconds. Give one: --budget 600s"),
        ({"settings": ("pears=0.2",)}, "unknown setting of hbfp 'pears'. Did you mean 'pairs'"),
        ({"settings": ("pairs",)}, "--set 'pairs': write KEY=VALUE"),
        ({"settings": ("pairs=2",)}, r"settings of hbfp: pairs: .*less than or equal to 1 \(given: 2"),
        ({"settings": ("pairs=nan",)}, r"settings of hbfp: pairs: .*\(given: "),
        ({"settings": ("pairs=many",)}, r"settings of hbfp: pairs: .*number.*\(given: 'many'\)"),
        ({"settings": ("share_of=most",)}, r"settings of hbfp: share_of: .*\(given: 'most'\)"),
        ({"settings": ("l1.scope=global",)}, "'l1' is not among the methods: hbfp"),
        ({"settings": ("hbfp.pears=1",)}, "unknown setting of hbfp 'pears'. Did you mean 'pairs'"),
    ],
)
def test_what_cannot_be_planned_is_refused_with_the_value_and_the_next_action(
    plan: Callable[..., list[Job]], asked: dict[str, tuple[str, ...]], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        plan(**asked)


def test_methods_that_do_not_fit_are_left_out_with_the_reason_where_others_do(smoke_track: Path) -> None:
    made = whole_plan(RunRequest(("magnitude", "l1"), (str(smoke_track),), ("macs=0.5",)))
    assert [job.spec.method for job in made.jobs] == ["l1"]
    (unfit,) = made.left_out
    assert (unfit.method, unfit.track) == ("magnitude", "smoke")
    assert "unstructured and cannot be run at macs=0.5. Give --target params=0.1" in unfit.reason


class Scaled(Settable):
    """Needs BatchNorm, which LeNet-5 has not."""

    name = "scaled"
    needs = frozenset({"batchnorm"})


def test_a_network_that_lacks_what_a_method_needs_is_refused_before_anything_runs(
    plan: Callable[..., list[Job]], install: Callable[[type[Method]], None]
) -> None:
    install(Scaled)
    with pytest.raises(UsageError, match=r"scaled needs batchnorm, and network 'lenet5' of track 'smoke' has no"):
        plan(methods=("scaled",))
    planned = {job.spec.method for job in plan(methods=("all",), targets=("macs=0.5",))}
    assert "l1" in planned
    assert "scaled" not in planned
    jobs = plan(methods=("scaled",), tracks=("digits-resnet8",), targets=("macs=0.5",))
    assert labels(jobs) == ["scaled digits-resnet8 macs=0.5 seed 0"]


def test_a_need_that_nobody_knows_is_named(
    plan: Callable[..., list[Job]], install: Callable[[type[Method]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scaled, "needs", frozenset({"batchnorms"}))
    install(Scaled)
    with pytest.raises(UsageError, match=r"need of scaled 'batchnorms'. Did you mean 'batchnorm'"):
        plan(methods=("scaled",))


def test_a_method_that_starts_untrained_has_no_dense_history(
    plan: Callable[..., list[Job]], install: Callable[[type[Method]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scaled, "needs", frozenset({"dense-history"}))
    monkeypatch.setattr(Scaled, "starts", "untrained")
    install(Scaled)
    with pytest.raises(UsageError, match="scaled needs dense-history, and starts untrained"):
        plan(methods=("scaled",))


@pytest.mark.parametrize("count", [1, 3, 4, 7, 50])
def test_the_shards_of_a_plan_are_all_of_it_each_job_once_and_even(smoke_track: Path, count: int) -> None:
    whole = whole_plan(RunRequest(("l1", "hbfp"), (str(smoke_track),), seeds=(0, 1, 2)))
    shards = [shard(whole, f"{number}/{count}").jobs for number in range(1, count + 1)]
    ids = [job.spec.run_id for part in shards for job in part]
    assert sorted(ids) == sorted(job.spec.run_id for job in whole.jobs)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    if count == 3:  # 12 jobs of three seeds: each dense network in one shard
        assert [{job.spec.seed for job in part} for part in shards] == [{0}, {1}, {2}]


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/2", ""])
def test_a_shard_that_is_none_is_refused(smoke_track: Path, text: str) -> None:
    with pytest.raises(UsageError, match="give K/N with K from 1 to N"):
        shard(whole_plan(RunRequest(("l1",), (str(smoke_track),))), text)
