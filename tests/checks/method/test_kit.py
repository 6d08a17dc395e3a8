"""`bench check` on the methods that come with the suite: cheap checks for all, the whole kit for a few."""

import pytest

from bench.checks.method.case import Case, CheckFailed, check_track
from bench.checks.method.kit import CHECKS, CheckResult, check_class, check_method
from bench.cli.main import main
from bench.runner.jobs import method_class, method_classes
from bench.specs.target import Target

CHEAP = ("declarations", "settings", "observers", "importable", "public names")


def failures(results: list[CheckResult]) -> dict[str, str]:
    return {result.name: result.detail for result in results if result.outcome == "failed"}


def skipped(results: list[CheckResult]) -> set[str]:
    return {result.name for result in results if result.outcome == "skipped"}


@pytest.mark.parametrize("name", sorted(method_classes()))
def test_every_method_declares_itself_well(name):
    results = check_class(method_class(name), only=CHEAP)
    assert [result.name for result in results] == list(CHEAP)
    assert failures(results) == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["l1", "random", "scratch"])
def test_runs_of_other_methods_keep_the_rules(name):
    results = check_class(
        method_class(name), only=("targets", "budget in epochs", "guard", "resume", "nothing to prune")
    )
    assert failures(results) == {}
    assert skipped(results) == set()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["entropy-rl", "cluster-rl"])
def test_searches_by_walks_keep_the_rules_on_every_network(name):
    results = check_class(
        method_class(name),
        only=("targets", "determinism", "budget in epochs", "resume", "residual network", "plain network"),
    )
    assert failures(results) == {}
    assert skipped(results) == set()


@pytest.mark.slow
def test_whole_kit_passes_for_hbfp_and_prints_a_table(capsys):
    assert check_method("hbfp", ("pairs=0.4",)) == 0
    printed = capsys.readouterr()
    for check in CHECKS:
        assert check in printed.out
        assert f"{check}: passed (" in printed.err
    assert f"all {len(CHECKS)} checks hold" in printed.out


@pytest.mark.slow
def test_whole_kit_passes_for_dense_and_what_does_not_apply_is_skipped():
    results = check_class(method_class("dense"))
    assert failures(results) == {}
    assert skipped(results) == {"one channel left", "nothing to prune"}


def test_failure_is_named_with_its_reason_and_ends_with_exit_code_1(capsys, monkeypatch):
    def fails(case: Case) -> str:
        raise CheckFailed("seen [this]. Do that.")

    monkeypatch.setattr("bench.checks.method.kit.CHECKS", {"first": fails, "second": lambda case: 1 / 0})
    assert check_method("l1") == 1
    printed = capsys.readouterr()
    assert "seen [this]. Do that." in printed.out
    assert "ZeroDivisionError" in printed.out
    assert "2 of 2 checks failed" in printed.out
    assert "first: failed" in printed.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["hbfb"], ["hbfb", "hbfp"]), (["l1", "--set", "scope=near"], ["scope"]), (["l1", "--set", "scop=x"], ["scope"])],
)
def test_wrong_name_or_setting_is_wrong_usage(arguments, words, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["check", *arguments])
    assert exit_.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert all(word in printed.err for word in words)


def test_a_run_is_made_once_and_leaves_no_plugin_behind(tmp_path):
    before = dict(method_classes())
    case = Case(method_class("random"), (), tmp_path)
    track = check_track("lenet5")
    record = case.finished(track, Target("macs", 0.5))
    assert case.finished(track, case.target(0.5)) is record
    assert record.status == "ok"
    assert method_classes() == before


@pytest.mark.parametrize("name", ["lenet5", "vgg16", "resnet20"])
def test_check_tracks_never_call_a_network_undertrained(name):
    assert check_track(name).floor == 0
    assert not check_track(name).ranked
