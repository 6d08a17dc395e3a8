"""`bench check METHOD --results FILE...`: do a submitted record's numbers follow from its manifest and its network?

What a record says is worked out again from what else it says, from the network that its widths describe, from the
repository's history and from the other records. Where `network.safetensors` lies beside the record, it is loaded and
measured. What cannot be known without running the method again (times, losses, the curve's values, accuracies without a
network) is `bench verify`'s: it is said to be unproven, and nothing here vouches for it.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.resources import files as resources
from pathlib import Path
from typing import Literal

from bench.checks.record.network import network_check
from bench.checks.record.provenance import provenance_check
from bench.checks.record.rules import CHECKS
from bench.checks.record.submission import Doubtful, Refused, Submission
from bench.checks.record.together import contradictions
from bench.errors import BenchError, UsageError
from bench.records.reading import duplicate_key, read_regular
from bench.records.record import Record, parse_record
from bench.records.text import one_line
from bench.trial.methods import method_class

__all__ = ["UNCHECKED", "Finding", "check_record", "check_results"]

UNCHECKED = "device seconds, latencies, losses and the curve's values: `bench verify RUN` runs it again"
_LIST_ALL_UP_TO = 5
_UNPROVEN = {"network": "accuracy on test", "provenance": "commit and source"}


@dataclass(frozen=True)
class Finding:
    """What one check of a record found.

    Attributes:
        check: its name.
        outcome: `unknown` where there was not enough at hand to tell.
        detail: what was seen, what was wrong, or what is missing.
    """

    check: str
    outcome: Literal["holds", "refused", "unknown"]
    detail: str

    def words(self) -> str:
        """One line."""
        return f"{self.check}: {self.outcome}: {self.detail}"


def check_results(method: str, paths: Sequence[Path], data: Path | None, say: Callable[[str], None] = print) -> int:
    """Checks records and prints a line a check; of more than five records, only what is not in order.

    Args:
        method: whose results these are, or `all`.
        paths: records, or folders that hold some.
        data: data folder, for the accuracy of stored networks; None: the accuracy is measured where a data set needs no
            files.
        say: prints a line.

    Returns:
        0 when every record holds, else 1.

    Raises:
        UsageError: no such method, or no record there.
    """
    if method != "all":
        method_class(method)
    files = list(_files(paths))
    against: dict[str, list[str]] = defaultdict(list)
    for run_id, reason in contradictions(_beside(files)):
        against[run_id].append(reason)
    refused, unproven = 0, Counter[str]()
    for path in files:
        findings = check_record(method, path, data)
        findings += [Finding("other records", "refused", reason) for reason in against.get(path.parent.name, ())]
        bad = [each for each in findings if each.outcome == "refused"]
        refused += bool(bad)
        unproven.update({each.check for each in findings if each.outcome == "unknown"})
        if bad or len(files) <= _LIST_ALL_UP_TO:
            say(f"{path}: {'refused' if bad else 'holds'}")
            for each in findings if len(files) <= _LIST_ALL_UP_TO else bad:
                say(f"  {each.words()}")
    if unproven and len(files) > _LIST_ALL_UP_TO:
        words = ", ".join(f"{_UNPROVEN.get(check, check)} of {count}" for check, count in sorted(unproven.items()))
        say(f"Unproven: {words} records.")
    say(f"{len(files) - refused} of {len(files)} records hold. Not checked: {UNCHECKED}.")
    return int(bool(refused))


def check_record(method: str, path: Path, data: Path | None = None) -> list[Finding]:
    """What each check found of one record; a record that cannot be read has one finding."""
    try:
        content = read_regular(path)
        record = parse_record(content, str(path))
        if (twice := duplicate_key(content)) is not None:
            return [Finding("schema", "refused", f"the key {one_line(twice)!r} stands twice in one object")]
        submission = Submission(record, path, method)
    except (BenchError, OSError) as error:
        return [Finding("schema", "refused", str(error))]
    findings = [Finding("schema", "holds", f"version {record.schema_version}")]
    findings += [_finding(name, partial(check, submission)) for name, check in CHECKS.items()]
    findings.append(_finding("provenance", partial(provenance_check, submission)))
    if any(each.outcome == "refused" and each.check == "status" for each in findings):
        return findings
    network = path.parent / "network.safetensors"
    if network.is_file():
        findings.append(_finding("network", partial(network_check, submission, network, data)))
    else:
        said = f"no {network.name} beside the record: its accuracy on test is unproven"
        findings.append(Finding("network", "unknown", said))
    return findings


def _finding(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, "holds", check())
    except Refused as reason:
        return Finding(name, "refused", str(reason))
    except Doubtful as reason:
        return Finding(name, "unknown", str(reason))
    except BenchError as error:  # a network or track that this version does not make
        return Finding(name, "refused", str(error))
    except (Exception, RecursionError) as error:  # it computes with what an earlier check refused
        return Finding(name, "refused", one_line(f"it cannot be worked out: {type(error).__name__}: {error}"))


def _beside(files: Sequence[Path]) -> Iterator[Record]:
    """The records that can be read, and the committed ones, which they must not contradict."""
    for path in {*files, *Path(str(resources("bench.leaderboard") / "results")).glob("*/record.json")}:
        with suppress(BenchError, OSError):
            yield parse_record(read_regular(path), str(path))


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        found = sorted(path.rglob("record.json")) if path.is_dir() else [path]
        if not found or not all(each.exists() for each in found):
            raise UsageError(f"no record at {str(path)!r}. Give a record.json, or a folder that holds some.")
        yield from found
