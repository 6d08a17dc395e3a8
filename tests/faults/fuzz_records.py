"""Records that somebody changed to do harm, and every command on a store that holds them. Not a test itself.

    python tests/faults/fuzz_records.py SECONDS [SEED [MOST]]      as `.ci/nightly` runs it

`mutated` changes one real record in one to three places, by kinds that are known to hurt: numbers at the ends of their
range, empty and endless lists, texts that act on a terminal, values of another type, keys twice. `commands` are run in
one process, on one store: no traceback, nothing that acts on a terminal, and seconds, not minutes.
"""

import io
import json
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

from bench.records.record import Record
from bench.records.text import plain
from bench.tracking.tracker import Published, Tracker
from bench.tracking.values import run_config, run_name, run_summary, run_tags, wandb_id

__all__ = ["fuzz", "harmful", "mutated", "run_command"]

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\n::error::no [bold red]x[/] <script>alert(1)</script> | \u202e\u2028 \x7f"
NUMBERS: tuple[Any, ...] = (
    0, -1, 1, 1e308, -1e308, 1e39, 1e-308, 5e-324, 2**63 - 1, 2**63, 10**30, 0.5, 1.0000001,
    float("inf"), float("nan"), -0.0,
)  # fmt: skip
OTHERS: tuple[Any, ...] = (
    None,
    True,
    "",
    HOSTILE,
    [],
    {},
    [[]],
    {"": None},
    "x" * 30_000,
    "timm:vit_giant_patch14_dinov2",
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        for key, each in value.items():
            found += _paths(each, (*path, key))
    elif isinstance(value, list):
        for number, each in enumerate(value[:4]):
            found += _paths(each, (*path, number))
    return found


def mutated(record: dict[str, Any], draw: random.Random) -> bytes:
    """The record as JSON, changed in one to three places."""
    made = json.loads(json.dumps(record))
    for _ in range(draw.choice((1, 1, 2, 3))):
        path = draw.choice(_paths(made))
        holder = made
        for key in path[:-1]:
            holder = holder[key]
        key, old = path[-1], holder[path[-1]]
        deed = draw.choice(("number", "number", "other", "hostile", "gone", "twice", "many", "key", "nested"))
        if deed == "number":
            holder[key] = draw.choice(NUMBERS)
        elif deed == "other":
            holder[key] = draw.choice(OTHERS)
        elif deed == "hostile":
            holder[key] = (old if isinstance(old, str) else "") + HOSTILE
        elif deed == "gone" and isinstance(holder, dict):
            del holder[key]
        elif deed == "twice" and isinstance(holder, list):
            holder.append(old)
        elif deed == "many" and isinstance(old, list) and old:
            holder[key] = old * draw.choice((2, 300))
        elif deed == "key" and isinstance(holder, dict):
            holder[HOSTILE] = holder.pop(key)
        elif deed == "nested":
            holder[key] = {"deep": json.loads("[" * 50 + "]" * 50)}
    text = json.dumps(made)
    if draw.random() < 0.05:
        text = text.replace('"seed":', '"seed": 1, "seed":', 1)
    if draw.random() < 0.05:
        text = text[: draw.randrange(len(text))]
    return text.encode()


def write_record(store: Path, content: bytes, run_id: str) -> Path:
    """Puts a record where a store has it: under its own name, if it still says one."""
    try:
        said = json.loads(content)["run_id"]
    except (ValueError, KeyError, TypeError):
        said = run_id
    name = said if isinstance(said, str) and said.isprintable() and "/" not in said and 0 < len(said) < 200 else run_id
    path = store / name / "record.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def record_commands(store: Path, record: Path, baseline: Path) -> list[list[str]]:
    """What is run for each record."""
    where = ["--store", str(store)]
    return [
        ["show", str(record), *where],
        ["show", str(record), "--json", *where],
        ["compare", str(record), str(next(baseline.glob("*/record.json"))), *where],
        ["check", "all", "--results", str(record)],
        ["verify", str(record), "--measure-only", *where],
    ]


def store_commands(store: Path, baseline: Path, out: Path) -> list[list[str]]:
    """What is run on a store of many such records."""
    where = ["--store", str(store)]
    return [
        ["gate", "--baseline", str(baseline), *where],
        ["gate", "--baseline", str(store), "--store", str(baseline), "--json"],
        ["claims", *where],
        ["leaderboard", "--out", str(out), *where],
        ["sync", *where],
    ]


@contextmanager
def no_server() -> Iterator[None]:
    """Inside, W&B takes everything that `bench sync` makes of a record, and nothing leaves the machine."""

    def take(tracker: Tracker, record: Record, network: Path | None) -> Published:
        points = [{f"{point.phase}/{name}": value for name, value in point.values.items()} for point in record.curve]
        made = [run_config(record), run_summary(record), run_tags(record), points]
        name = run_name(record.method, record.target, record.seed)
        json.dumps([name, made], allow_nan=False)
        return Published(wandb_id(record.run_id), f"https://wandb.example/{wandb_id(record.run_id)}")

    account = {"WANDB_MODE": "online", "WANDB_API_KEY": "0" * 40}
    with patch.object(Tracker, "_send", take), patch.dict(os.environ, account):
        yield


def run_command(words: Sequence[str]) -> tuple[int, str]:
    """Runs a command in this process: its exit code, and all that it printed."""
    from bench.cli.main import main

    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        try:
            main(list(words))
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 2
    return code, said.getvalue()


def harmful(said: str) -> str | None:
    """What is wrong with a transcript; None where nothing is."""
    if "Traceback (most recent call last)" in said:
        return "a traceback"
    if plain(said) != said:
        return "a character that acts on a terminal"
    if any(line.lstrip().startswith(("::", "##[")) for line in said.splitlines()):
        return "a line that a CI runner takes for a command"
    return None


def fuzz(
    records: Sequence[Path], folder: Path, draw: random.Random, batches: int, batch: int, most: float | None = None
) -> list[str]:
    """The faults that so many batches of mutated records have shown; each is kept as a file in `folder`.

    Args:
        records: real ones, to change.
        folder: of stores and pages.
        draw: makes it the same again.
        batches, batch: stores, and records in each.
        most: CPU seconds that the commands on one record may take together; None: that is not looked at.
    """
    faults = []

    def ask(words: list[str]) -> None:
        begun = time.monotonic()
        try:
            with no_server():
                _, said = run_command(words)
            fault = harmful(said)
        except Exception as error:
            fault, said = f"{type(error).__name__}: {error}", traceback.format_exc()
        if fault is None and time.monotonic() - begun > 60:
            fault = f"it took {time.monotonic() - begun:.0f} s"
        if fault:
            faults.append(plain(f"bench {' '.join(words)}: {fault}: {said[-1500:]}"))

    baseline = folder / "base"
    for path in records[:4]:
        write_record(baseline, path.read_bytes(), path.parent.name)
    for words in record_commands(baseline, next(baseline.glob("*/record.json")), baseline):
        ask(words)  # what is imported once is no record's time
    for number in range(batches):
        store = folder / f"store{number}"
        made = []
        for _ in range(batch):
            source = draw.choice(list(records))
            path = write_record(store, mutated(json.loads(source.read_bytes()), draw), source.parent.name)
            network = source.with_name("network.safetensors")
            if network.is_file() and not path.with_name(network.name).exists():
                shutil.copy(network, path.parent)
            made.append(path)
        for path in made:
            begun = time.process_time()
            for words in record_commands(store, path, baseline):
                ask(words)
            if most is not None and (took := time.process_time() - begun) > most:
                faults.append(plain(f"{path.read_text(errors='replace')[:2000]}: its commands took {took:.1f} s"))
        for words in store_commands(store, baseline, folder / "page"):
            ask(words)
    return faults


def main(seconds: float, seed: int, most: float = 2.0) -> int:
    """Fuzzes for so many seconds; the exit code is 1 where a command failed, or a record took `most` CPU seconds."""
    from bench.records.lookup import committed_results

    records = sorted(committed_results().glob("*/record.json"))
    end, found, batches = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        with tempfile.TemporaryDirectory() as folder:
            for fault in fuzz(records, Path(folder), random.Random(f"{seed} {batches}"), 1, 20, most):
                found += 1
                print(f"seed {seed}, batch {batches}: {fault}", flush=True)
        batches += 1
    print(f"{batches * 20} records, seed {seed}: {found} faults")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else 0, *map(float, sys.argv[3:])))
