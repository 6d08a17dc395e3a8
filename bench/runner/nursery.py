"""Where runs' processes come from: one process that has imported everything and runs nothing.

A new Python that imports torch takes seconds; a copy of one that has done so takes milliseconds, and is as fresh:
no plugin was imported, no network built and no GPU touched in it. It starts beside the command's own imports and ends
with the driver, whose end of its socket closes.
"""

import gc
import importlib
import json
import os
import pickle
import select
import signal
import socket
import struct
import subprocess
import sys
import traceback
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError
from bench.runner.limits import Limits
from bench.runner.process_tree import adopt_orphans, children, die_with_parent
from bench.runner.run_process import Task

__all__ = ["Nursery", "Order", "serve"]

_FIRST = ("bench.runner.run", "bench.runner.run_process", "bench.runner.keeper", "sklearn.datasets")
_THEN = ("torch.fx", "torch.export", "fvcore.nn", "sklearn.cluster", "sklearn.neighbors", "gymnasium")
"""Imported at once, and while there is nothing else to do. Nothing here comes from a plugin."""
_HEADER = struct.Struct("!Q")
_PROGRAM = """
import json, sys
sys.path[:] = json.loads(sys.argv[3])
from bench.runner.nursery import serve
serve(int(sys.argv[1]), int(sys.argv[2]))
"""


@dataclass(frozen=True)
class Order:
    """One run to be started."""

    task: Task
    log: Path
    limits: Limits


class Nursery:
    """The driver's side: starts the process at once, and runs in it on demand."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        words = [sys.executable, "-P", "-c", _PROGRAM, str(theirs.fileno()), str(os.getpid()), json.dumps(sys.path)]
        try:
            # a session of its own: Ctrl-C at the terminal is for the driver, and the driver's standard output its own
            self._process = subprocess.Popen(
                words, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=2, start_new_session=True
            )
        finally:
            theirs.close()
        self._control = ours

    def launch(self, order: Order) -> socket.socket:
        """Starts a run; what comes through the socket is its keeper's.

        Raises:
            BenchError: no process can be started.
        """
        for last in (False, True):
            ours, theirs = socket.socketpair()
            try:
                content = pickle.dumps(order)
                socket.send_fds(self._control, [_HEADER.pack(len(content))], [theirs.fileno()])
                self._control.sendall(content)
                return ours
            except OSError as error:  # somebody killed it
                ours.close()
                if last:
                    raise BenchError(f"runs cannot be started: {error}.") from None
                self.close()
                self._start()
            finally:
                theirs.close()
        raise AssertionError

    def close(self) -> None:
        """Ends the process; runs are their keepers' affair."""
        self._control.close()
        self._process.kill()
        self._process.wait()


def serve(number: int, parent: int) -> None:
    """The process itself: forks a keeper for every order, until the driver, its parent, is gone."""
    die_with_parent(parent)
    adopt_orphans()
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    control = socket.socket(fileno=number)
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    for name in _FIRST:
        importlib.import_module(name)
    from bench.specs.run import package_sha256

    package_sha256()  # of the code that was imported, should the files change while the command runs
    keepers: set[int] = set()
    later = list(_THEN)
    gc.freeze()  # a copy shares its pages with this process as long as nobody writes to them
    while True:
        ready = select.select([control], [], [], 0.0 if later else 1.0)[0]
        _reap(keepers)
        if later and not ready:
            with suppress(ImportError):
                importlib.import_module(later.pop(0))
            gc.freeze()
        if not ready:
            continue
        try:
            order, driver = _receive(control)
        except (EOFError, OSError):
            os._exit(0)
        pid = os.fork()
        if pid == 0:
            _be_keeper(order, driver, control)
        keepers.add(pid)
        driver.close()


def _reap(keepers: set[int]) -> None:
    """Takes leave of keepers that have ended, and ends what a killed one has left behind."""
    with suppress(ChildProcessError):
        while ended := os.waitpid(-1, os.WNOHANG)[0]:
            keepers.discard(ended)
    for stray in children(os.getpid()):
        if stray not in keepers:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(stray, signal.SIGKILL)


def _be_keeper(order: bytes, driver: socket.socket, control: socket.socket) -> None:
    code = 1
    try:
        from bench.runner.keeper import keep
        from bench.runner.run_process import carry_out

        control.close()
        wanted: Order = pickle.loads(order)
        keep(driver, wanted.log, wanted.limits, lambda pipe: carry_out(wanted.task, pipe))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _receive(control: socket.socket) -> tuple[bytes, socket.socket]:
    header, numbers, _, _ = socket.recv_fds(control, _HEADER.size, 1)
    if len(header) != _HEADER.size or not numbers:
        raise EOFError
    driver = socket.socket(fileno=numbers[0])
    (size,) = _HEADER.unpack(header)
    content = bytearray()
    while len(content) < size:
        part = control.recv(min(1 << 20, size - len(content)))
        if not part:
            raise EOFError
        content += part
    return bytes(content), driver
