"""The list of checks, and the table of what came of them."""

import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.table import Table
from rich.text import Text

from bench.checks.method import declarations as contract
from bench.checks.method import other_networks as networks
from bench.checks.method import resume, runs
from bench.checks.method.case import Case, CheckFailed, DoesNotApply, network_track
from bench.records.console import make_console
from bench.runner.jobs import settings_of
from bench.runner.needs import unmet_need
from bench.trial.method import Method
from bench.trial.methods import method_class, method_classes

__all__ = ["CHECKS", "CheckResult", "check_class", "check_methods"]

Check = Callable[[Case], str]

CHECKS: dict[str, Check] = {
    "declarations": contract.declarations,
    "settings": contract.settings,
    "observers": contract.observers,
    "importable": contract.importable,
    "public names": contract.public_names,
    "targets": runs.targets,
    "determinism": runs.determinism,
    "seeds": runs.seeds,
    "budget in epochs": runs.budget_in_epochs,
    "budget in seconds": runs.budget_in_seconds,
    "guard": runs.guarded,
    "resume": resume.resume,
    "one channel left": networks.one_channel_left,
    "one channel at start": networks.narrow,
    "nothing to prune": networks.nothing_to_prune,
    "residual block": networks.residual_block,
    "residual network": networks.residual_network,
    "plain network": networks.plain_network,
}
LIMIT_SECONDS = 600.0
_COLOURS = {"passed": "green", "failed": "red", "skipped": "yellow"}


@dataclass(frozen=True)
class CheckResult:
    """What one check found.

    Attributes:
        name: of the check.
        outcome: `skipped` where the check says nothing about this method.
        detail: what was seen; for a failure what was wrong and the next action; for a skip why.
        seconds: how long it took.
    """

    name: str
    outcome: Literal["passed", "failed", "skipped"]
    detail: str
    seconds: float


def check_methods(methods: tuple[str, ...], settings: tuple[str, ...] = (), network: str | None = None) -> int:
    """Checks installed methods: a line a check on standard error, a table a method on standard output.

    Args:
        methods: their names, or `all`.
        settings: `KEY=VALUE` each, for every method that has it.
        network: of most checks; None: LeNet-5, or the first of the kit's that has what the method needs. Of several
            methods, those that need something else than the network has are left out, and named.

    Returns:
        0 when no check failed, else 1.

    Raises:
        UsageError: no such method, setting or network, or a wrong value.
    """
    names = tuple(method_classes()) if "all" in methods else tuple(dict.fromkeys(methods))
    classes = {name: method_class(name) for name in names}
    settings_of(classes, settings)  # a wrong setting is the user's, not the method's
    track = None if network is None else network_track(network)
    failed: dict[str, bool] = {}
    for name, method in classes.items():
        if track is not None and len(names) > 1 and (missing := unmet_need(method, track)):
            print(f"{name}: left out: {missing}", file=sys.stderr, flush=True)
            continue
        own = tuple(word for word in settings if _concerns(word, method))
        results = check_class(method, own, _say, network=network)
        make_console().print(_table(method, results))
        failed[name] = any(result.outcome == "failed" for result in results)
    if len(names) > 1:
        wrong = [name for name, failing in failed.items() if failing]
        print(
            f"{len(wrong)} of {len(failed)} methods fail: {', '.join(wrong)}"
            if wrong
            else f"all {len(failed)} methods pass"
        )
    return int(any(failed.values()))


def _concerns(setting: str, method: type[Method]) -> bool:
    """Whether `KEY=VALUE` or `METHOD.KEY=VALUE` is for this method."""
    owner, dot, field = setting.partition("=")[0].rpartition(".")
    return owner == method.name if dot else field in method.Config.model_fields


def check_class(
    method: type[Method],
    settings: tuple[str, ...] = (),
    ended: Callable[[CheckResult], None] = lambda _result: None,
    only: tuple[str, ...] | None = None,
    limit_seconds: float = LIMIT_SECONDS,
    network: str | None = None,
) -> list[CheckResult]:
    """Checks a method, installed or not.

    Args:
        method: the class.
        settings: `KEY=VALUE` each.
        ended: told each result as it comes.
        only: names of the checks to make, in the kit's order; None for all.
        limit_seconds: a check that takes longer is stopped and fails.
        network: see `check_methods`.

    Raises:
        UsageError: a setting or the network is unknown or wrong, or the network lacks what the method needs.
    """
    results = []
    with tempfile.TemporaryDirectory(prefix="bench-check-") as folder:
        case = Case(method, settings, Path(folder), network)
        if settings:
            _ = case.config  # a wrong setting is the user's, not the method's
        if network is not None:
            _ = case.track
        for name, check in CHECKS.items():
            if only is None or name in only:
                results.append(_result(name, check, case, limit_seconds))
                ended(results[-1])
    return results


def _result(name: str, check: Check, case: Case, limit_seconds: float) -> CheckResult:
    begun = time.perf_counter()
    outcome: Literal["passed", "failed", "skipped"] = "passed"
    try:
        with _limited(limit_seconds):
            detail = check(case)
    except DoesNotApply as reason:
        outcome, detail = "skipped", f"does not apply: {reason}"
    except CheckFailed as reason:
        outcome, detail = "failed", str(reason)
    except (Exception, SystemExit) as error:  # a plugin may do anything, and the other checks go on
        outcome, detail = "failed", f"{type(error).__name__}: {error}"
    return CheckResult(name, outcome, " ".join(detail.split()), time.perf_counter() - begun)


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raises TimeoutError inside after `seconds`, where the system has such an alarm (not on Windows)."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(_signal: int, _frame: object) -> None:
        raise TimeoutError(f"not done after {seconds:g} s. End loops over trial calls when the budget is spent.")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _say(result: CheckResult) -> None:
    why = f": {result.detail}" if result.outcome == "failed" else ""
    print(f"{result.name}: {result.outcome} ({result.seconds:.1f} s){why}", file=sys.stderr, flush=True)


def _table(method: type[Method], results: list[CheckResult]) -> Table:
    failed = sum(result.outcome == "failed" for result in results)
    seconds = sum(result.seconds for result in results)
    verdict = f"{failed} of {len(results)} checks failed" if failed else f"all {len(results)} checks hold"
    table = Table(title=f"bench check {method.name}", caption=f"{verdict}, {seconds:.0f} s")
    table.add_column("check", no_wrap=True)
    table.add_column("result", no_wrap=True)
    table.add_column("what was seen", overflow="fold")
    for result in results:
        colour = _COLOURS[result.outcome]
        table.add_row(result.name, Text(result.outcome, style=colour), result.detail)
    return table
