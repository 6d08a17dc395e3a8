"""Targets: how they are read, written and met."""

import pytest

from bench import Target, UsageError


@pytest.mark.parametrize("text", ["macs=0.5", "params=0.01", "auto", "none", "macs=1e-05", "macs=0.12345678"])
def test_a_target_is_written_as_it_is_read(text: str) -> None:
    assert str(Target.parse(text)) == text


def test_targets_that_differ_are_written_differently() -> None:
    assert str(Target.parse("macs=0.12345678")) != str(Target.parse("macs=0.12345679"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("macs=1.5", r"macs=1.5 is outside \(0, 1\)"),
        ("macs=1", r"macs=1.0 is outside \(0, 1\)"),
        ("macs=0", r"macs=0.0 is outside \(0, 1\)"),
        ("params=-0.1", r"params=-0.1 is outside \(0, 1\)"),
        ("macs=nan", r"macs=nan is outside \(0, 1\)"),
        ("macs=inf", r"macs=inf is outside \(0, 1\)"),
        ("macs=abc", "'abc' is not a number"),
        ("macs=", "'' is not a number"),
        ("flops=0.5", r"'flops' is not measured. Use macs=R or params=R"),
        ("auto=0.5", "'auto' is not measured"),
        ("half", "use macs=R, params=R or auto"),
        ("", "use macs=R, params=R or auto"),
    ],
)
def test_what_is_no_target_is_refused_with_its_text_and_the_right_form(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Target.parse(text)


def test_a_target_is_met_from_either_side_within_the_tolerance_relative_to_it() -> None:
    target = Target.parse("macs=0.1")
    assert target.met_by(0.0981, 0.02)
    assert target.met_by(0.1019, 0.02)
    assert not target.met_by(0.0979, 0.02)
    assert not target.met_by(0.1021, 0.02)


def test_without_a_size_any_network_meets_the_target() -> None:
    assert Target("auto").met_by(0.9, 0.02)
    assert Target("none").met_by(1.0, 0.02)
    assert not Target("auto").has_size
