"""Runs `bench` commands in forked processes, some of which end by SIGKILL at a chosen event. Not a test itself.

    python killer.py

Each line of its standard input is a case, `{"words": [...], "store": DIR, "kills": [[EVENT, N], ...]}`: the command is
run once for each kill and a last time undisturbed. A process dies as its N-th event of that name begins; one whose
command has fewer such events ends by itself. A line of standard output answers each case with how every process ended:
`[event or null, exit code or null, run ids that the leaderboard is made from then]`.
"""

import contextlib
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sklearn.datasets  # noqa: F401 - imported once here, not in every forked process
import torch._dynamo  # noqa: F401

import bench.cli.main
import bench.cli.session
import bench.journal.codec
import bench.journal.files
import bench.leaderboard.pages.site
import bench.runner.dense
import bench.runner.run
import bench.trial.passes
from bench.journal.files import FileJournal
from bench.records.store import read_records
from bench.specs.run import package_sha256
from bench.training.trainer import Trainer
from bench.trial.calls import Calls
from bench.trial.passes import Passes


class Fuse:
    """Counts events and kills the process at the one it was told."""

    def __init__(self, name: str, number: int) -> None:
        self.name, self.number, self.seen = name, number, Counter[str]()

    def event(self, name: str, last_deed: Callable[[], None] = lambda: None) -> None:
        """`name` happens now; `last_deed` is what is still done of it by a process that dies here."""
        self.seen[name] += 1
        if name == self.name and self.seen[name] == self.number:
            last_deed()
            os.kill(os.getpid(), signal.SIGKILL)


def arm(fuse: Fuse) -> None:
    """Puts the fuse's events into the code that this process will run."""
    rename, unlink, append, step, call = Path.replace, Path.unlink, FileJournal._append, Trainer._step, Calls.call
    hook_forward = Passes.hook_forward
    save, look, remove = (
        bench.journal.codec.save_file,
        bench.trial.passes.measure_accuracy,
        bench.runner.run.shutil.rmtree,
    )

    def replace(path: Path, target: Path) -> Path:
        fuse.event("before a rename")
        named = rename(path, target)
        fuse.event("after a rename")
        return named

    def appended(journal: FileJournal, entry: dict[str, Any]) -> None:
        def half() -> None:
            line = f"{0:08x} {json.dumps(entry)}"
            with journal._calls.open("a") as file:
                file.write(line[: len(line) // 2])

        fuse.event("in the middle of a line", half)
        append(journal, entry)
        fuse.event("after a line")

    def unlinked(path: Path, missing_ok: bool = False) -> None:
        fuse.event("before a file goes")
        unlink(path, missing_ok)

    def saved(tensors: dict[str, Any], path: Path, metadata: dict[str, str]) -> None:
        def half() -> None:
            save(tensors, path, metadata)
            os.truncate(path, path.stat().st_size // 2)

        fuse.event("in the middle of a file", half)
        save(tensors, path, metadata)

    def stepped(*arguments: Any) -> Any:
        fuse.event("in a step")
        return step(*arguments)

    def called(*arguments: Any) -> Any:
        fuse.event("between calls")
        return call(*arguments)

    def looked(*arguments: Any) -> Any:
        fuse.event("in an evaluation")
        return look(*arguments)

    def searched(*arguments: Any) -> Any:
        fuse.event("in a search")
        return hook_forward(*arguments)

    def removed(*arguments: Any, **options: Any) -> None:
        fuse.event("before the journal goes")
        remove(*arguments, **options)

    Path.unlink = unlinked
    Passes.hook_forward = searched  # type: ignore[method-assign]
    Path.replace, FileJournal._append, Trainer._step, Calls.call = replace, appended, stepped, called
    bench.journal.codec.save_file, bench.trial.passes.measure_accuracy, bench.runner.run.shutil.rmtree = (
        saved,
        looked,
        removed,
    )


def run(words: list[str], kill: list[Any] | None) -> tuple[str | None, int | None]:
    """Runs the command in a process of its own: the event at which it was killed, or its exit code."""
    child = os.fork()
    if not child:
        code = 70
        try:
            with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
                if kill:
                    arm(Fuse(*kill))
                bench.cli.main.main(words)
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        assert kill
        return kill[0], None
    return None, os.WEXITSTATUS(status)


def main() -> None:
    """Does the cases in order."""
    package_sha256()  # kept for all of them: a file that is edited meanwhile is not what this is about
    for line in sys.stdin:
        case, ends = json.loads(line), []
        for kill in [*case["kills"], None]:
            event, code = run([*case["words"], "--executor", "inline", "--store", case["store"]], kill)
            records = [record.run_id for record in read_records(Path(case["store"]))[0]]
            ends.append([event, code, records])
        print(json.dumps(ends), flush=True)


if __name__ == "__main__":
    main()
