"""`bench check` on the methods that come with the suite: cheap checks for all, the whole kit for a few."""

from typing import ClassVar

import pytest
import torch

from bench import Method, Trial, UsageError
from bench.checks.method.case import Case, CheckFailed, check_track, known_networks, network_track
from bench.checks.method.kit import CHECKS, CheckResult, check_class, check_methods
from bench.cli.main import main
from bench.measure.macs import count_macs
from bench.networks.registry import network
from bench.runner.needs import NEEDS
from bench.specs.target import Target
from bench.trial.methods import method_class, method_classes

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
@pytest.mark.parametrize("name", ["scratch"])  # the kit on `hbfp` is below; here, on what starts untrained
def test_runs_of_other_methods_keep_the_rules(name):
    results = check_class(
        method_class(name), only=("targets", "budget in epochs", "guard", "resume", "nothing to prune")
    )
    assert failures(results) == {}
    assert skipped(results) == set()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["entropy-rl"])  # whose walks are the others' too
def test_searches_by_walks_keep_the_rules_on_every_network(name):
    results = check_class(
        method_class(name),
        only=("targets", "determinism", "budget in epochs", "resume", "residual network", "plain network"),
    )
    assert failures(results) == {}
    assert skipped(results) == set()


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.parametrize("name", sorted(set(method_classes()) - {"hbfp", "dense"}))
def test_whole_kit_passes_for_every_method(name):
    assert failures(check_class(method_class(name))) == {}


@pytest.mark.slow
def test_whole_kit_passes_for_hbfp_and_prints_a_table(capsys):
    assert check_methods(("hbfp",), ("pairs=0.4",)) == 0
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
    assert check_methods(("l1",)) == 1
    printed = capsys.readouterr()
    assert "seen [this]. Do that." in printed.out
    assert "ZeroDivisionError" in printed.out
    assert "2 of 2 checks failed" in printed.out
    assert "first: failed" in printed.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["hbfb"], ["hbfb", "hbfp"]),
        (["l1", "--network", "resnet9"], ["resnet9", "resnet8"]),
        (["l1", "--set", "scope=near"], ["scope"]),
        (["l1", "--set", "scop=x"], ["scope"]),
    ],
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


def test_several_methods_are_checked_with_a_line_that_counts_them(capsys, monkeypatch):
    def no_controls(case: Case) -> str:
        if case.method.control:
            raise CheckFailed("a control.")
        return "fine"

    monkeypatch.setattr("bench.checks.method.kit.CHECKS", {"only": no_controls})
    assert check_methods(("l1", "hbfp"), ("l1.scope=global", "pairs=0.4")) == 0
    printed = capsys.readouterr()
    assert printed.out.count("all 1 checks hold") == 2
    assert "all 2 methods pass" in printed.out
    assert check_methods(("all",)) == 1
    controls = [name for name, method in method_classes().items() if method.control]
    assert f"{len(controls)} of {len(method_classes())} methods fail: {', '.join(controls)}" in capsys.readouterr().out
    with pytest.raises(UsageError, match="scop"):
        check_methods(("l1", "hbfp"), ("scop=layer",))


class Scales(Method):
    """Keeps the channels whose batch normalisation has the largest scales: cannot run without such layers."""

    name = "scales"
    reference = "made for the tests"
    needs: ClassVar[frozenset[str]] = frozenset({"batchnorm"})

    def prune(self, trial: Trial) -> None:
        norms = [m for m in trial.network.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
        if not norms:
            raise RuntimeError("no batch normalisation")
        trial.surgery.remove(trial.surgery.fit({g.name: g.norm_scales for g in trial.surgery.groups}))


@pytest.mark.slow
def test_a_method_that_needs_batchnorm_passes_the_whole_kit():
    results = check_class(Scales)
    assert list(failures(results)) == ["public names"]  # of this file, which imports the kit
    assert skipped(results) == set()


def test_a_method_that_needs_batchnorm_is_run_on_the_small_network_that_has_it(tmp_path):
    case = Case(Scales, (), tmp_path)
    assert (case.track.name, case.track.network) == ("residual", "check-residual")
    record = case.finished(case.track, case.target(0.5))
    assert (record.track, record.status) == ("residual", "ok")
    with pytest.raises(UsageError, match="scales needs batchnorm, and network 'lenet5'"):
        check_class(Scales, only=("targets",), network="lenet5")


def test_a_need_that_no_network_of_the_kit_has_is_said_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setitem(NEEDS, "attention", lambda method, track: f"network {track.network!r} has no attention.")
    wanting = type("Wanting", (Scales,), {"needs": frozenset({"attention"}), "name": "wanting"})
    with pytest.raises(UsageError, match="has no attention. Give a network .* bench check wanting --network NAME"):
        _ = Case(wanting, (), tmp_path).track


def test_of_several_methods_those_that_cannot_run_on_the_network_are_left_out_by_name(capsys, monkeypatch):
    monkeypatch.setattr("bench.checks.method.kit.CHECKS", {"only": lambda case: case.track.name})
    monkeypatch.setattr(method_class("l1"), "needs", frozenset({"batchnorm"}))
    assert check_methods(("l1", "random"), network="lenet5") == 0
    printed = capsys.readouterr()
    assert "l1: left out: l1 needs batchnorm" in printed.err
    assert "all 1 methods pass" in printed.out


@pytest.mark.parametrize(
    ("network", "dataset"),
    [("lenet5", "digits"), ("lenet300", "digits"), ("check-residual", "digits"), ("resnet8", "digits-rgb")],
)
def test_a_network_brings_images_of_its_kind(network, dataset, tmp_path):
    track = network_track(network)
    assert (track.network, track.dataset, track.floor) == (network, dataset, 0)
    assert Case(method_class("l1"), (), tmp_path, network).track == track


def test_checks_run_on_the_network_that_is_named(tmp_path):
    results = check_class(method_class("l1"), only=("targets", "guard", "one channel left"), network="resnet8")
    assert failures(results) == {}
    (one,) = [result.detail for result in results if result.name == "one channel left"]
    assert "stage1.0.conv1 1" in one


def test_the_target_of_one_channel_by_hand(tmp_path):
    # LeNet-5 with one channel in conv1 and conv2: 25*24*24 + 25*8*8 + 16*500 + 500*10 of its 2,293,000 MACs
    assert Case(method_class("l1"), (), tmp_path).one_channel.ratio == pytest.approx(
        29_000 / 2_293_000 * 1.005, rel=1e-4
    )


def test_macs_of_the_small_residual_network_by_hand():
    with known_networks():
        found = network("check-residual")
    stem, block, last = 16 * 9 * 14**2, 2 * 16 * 12 * 9 * 14**2, 16 * 24 * 9 * 7**2
    assert count_macs(found.build(found.input), found.input.shape).total == stem + block + last + 24 * 10 == 875_184


def test_the_kits_networks_are_known_only_inside():
    with pytest.raises(UsageError, match="check-residual"):
        network("check-residual")


@pytest.mark.parametrize("name", ["lenet5", "residual", "plain", "resnet20"])
def test_check_tracks_never_call_a_network_undertrained(name):
    assert check_track(name).floor == 0
    assert not check_track(name).ranked
