"""Limits of a run: what the options mean, and when a run counts as stuck."""

import pytest

from bench.errors import UsageError
from bench.runner.limits import parse_memory, parse_timeout, stuck_after


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("1.5min", 90),
        ("2h", 7200),
        ("1d", 86400),
        (" 2 H ", 7200),
        ("auto", "auto"),
        ("none", None),
    ],
)
def test_a_timeout(text: str, seconds: object) -> None:
    assert parse_timeout(text) == seconds


@pytest.mark.parametrize(
    ("text", "amount"),
    [("800MB", 800_000_000), ("4GiB", 4 << 30), ("0.5gb", 500_000_000), ("none", None), ("auto", "auto")],
)
def test_an_amount_of_memory(text: str, amount: object) -> None:
    assert parse_memory(text) == amount


@pytest.mark.parametrize("text", ["", "0", "-1s", "1e9", "nan", "inf", "2 hours", "1GB", "h", "9" * 40])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--timeout .*: give 90s, 30min or 2h, auto or none"):
        parse_timeout(text)


def test_a_run_is_stuck_after_thirty_times_its_budget_and_half_a_minute() -> None:
    assert stuck_after(10.0, 20.0, 30.0, "dense_epochs") == 30 + 30 * 15
    assert stuck_after(10.0, 20.0, 60.0, "device_seconds") == 30 + 30 * 60
