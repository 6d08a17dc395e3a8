"""A process that has imported what `bench` commands import, and is copied for each of them. Not a test itself.

    python prepared.py SOCKET

A new Python that imports torch takes seconds, and so does the one that runs come from (`bench.runner.nursery`); the
suite starts many of both. Whoever connects to SOCKET sends one JSON object, with files:

- `{"words": [...], "environ": {...}, "folder": DIR}` and two files, for standard output and errors: `python -m
  bench.cli WORDS` in a copy of this process. Its id comes back, a line, and then its exit code, another.
- `{"nursery": true, ...}` and one file: what `Nursery` starts, at the other end of that socket. The same comes back.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
from contextlib import suppress
from typing import Any

IMPORTED = (
    "bench.cli.main",
    "bench.cli.session",
    "bench.leaderboard.pages.site",
    "bench.runner.keeper",
    "bench.runner.run",
    "bench.runner.run_process",
    "sklearn.datasets",
    "torch_pruning",
    "torch.fx",
    "fvcore.nn",
)


class Copy:
    """A forked nursery, as `Nursery` knows its process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def kill(self) -> None:
        """Ends it."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> None:
        """Until it has ended."""
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def start_by_copying(nursery: Any) -> None:
    """`Nursery._start`, in a command that is itself a copy: nothing has run in it yet."""
    ours, theirs = socket.socketpair()
    driver = os.getpid()
    pid = os.fork()
    if not pid:
        serve(theirs.detach(), driver)
    theirs.close()
    nursery._process, nursery._control = Copy(pid), ours


def serve(control: int, driver: int) -> None:
    """The nursery's process, with nothing of its driver's open but the socket."""
    try:
        os.setsid()
        os.dup2(2, 1)
        os.closerange(3, control)
        os.closerange(control + 1, 4096)
        importlib.import_module("bench.runner.nursery").serve(control, driver)
    finally:
        os._exit(70)


def run(asked: dict[str, Any], files: list[int]) -> None:
    """The command, in this process, which is for nothing else."""
    code = 70
    try:
        os.setsid()
        for number, file in enumerate((os.open(os.devnull, os.O_RDONLY), *files)):
            os.dup2(file, number)
        os.closerange(3, 4096)
        sys.path[:0] = ["", *filter(None, asked["environ"].get("PYTHONPATH", "").split(os.pathsep))]
        sys.argv[1:] = asked["words"]
        importlib.import_module("bench.runner.nursery").Nursery._start = start_by_copying
        for name in ("stdout", "stderr"):
            stream = open(1 + (name == "stderr"), "w", encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        runpy.run_module("bench.cli", run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def answer(connection: socket.socket) -> None:
    """Does what one connection asks for, and says how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    content, files, _, _ = socket.recv_fds(connection, 1 << 20, 2)
    while not content.endswith(b"\n"):
        content += connection.recv(1 << 20)
    asked = json.loads(content)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environ"])
    here = os.getpid()
    pid = os.fork()
    if not pid:
        if asked.get("nursery"):
            sys.path[:] = asked["path"]
            serve(files[0], here)
        run(asked, files)
    for file in files:
        os.close(file)
    connection.sendall(f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    with suppress(OSError):
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def main(path: str) -> None:
    """Serves until the process that started it, which holds its standard input, is gone."""
    for name in IMPORTED:
        importlib.import_module(name)
    importlib.import_module("bench.specs.run").package_sha256()
    importlib.import_module("bench.runner.keeper").free_bytes = lambda: None  # whatever else the machine does
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    print("ready", flush=True)
    if not os.fork():  # the end of the tests
        sys.stdin.read()
        os.kill(os.getppid(), signal.SIGTERM)
        os._exit(0)
    while True:
        connection, _ = listener.accept()
        if not os.fork():
            listener.close()
            answer(connection)
            os._exit(0)
        connection.close()


if __name__ == "__main__":
    main(sys.argv[1])
