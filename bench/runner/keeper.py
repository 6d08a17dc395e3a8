"""The keeper of one run: starts its process, watches it, and leaves nothing of it behind.

    driver -- nursery (everything imported, runs nothing)
                 `-- keeper, one a run -- run's process -- whatever a plugin starts

The keeper runs no plugin, so that no plugin can end it, hang it or print through it, short of looking for it. It
is alone in its session, so that signals to a run's process group do not reach it; it adopts what the run leaves
behind; it kills all of it when the run ends, and when the driver does, however that ends: the driver's end of the
keeper's socket closes with it.
"""

import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bench.runner.limits import FREE_SHARE, Limits
from bench.runner.output_log import OutputLog
from bench.runner.process_tree import (
    adopt_orphans,
    descendants,
    die_with_parent,
    end_descendants,
    free_bytes,
    offer_to_the_kernel,
    resident_bytes,
)

__all__ = ["Ended", "How", "keep"]

How = Literal["ended", "timed-out", "out-of-memory"]
_LOOK_SECONDS = 0.1  # memory and time limits
_GRACE_SECONDS = 5.0  # from the request to stop to the end, for a run whose time is up
_LINE_BYTES = 1 << 16
_CHUNK = 1 << 18


@dataclass(frozen=True)
class Ended:
    """How a run's process ended.

    Attributes:
        how: by itself, or by which limit.
        code: its exit code; negative for a signal; None where nobody saw its end.
        said: what it said in its own words, where it refused to run.
        limit: the limit, in words.
        seconds: on the wall.
    """

    how: How
    code: int | None
    said: str = ""
    limit: str = ""
    seconds: float = 0.0


def keep(driver: socket.socket, log: Path, limits: Limits, work: Callable[[int], int]) -> None:
    """Runs `work` in a process of its own and tells the driver about it, until that process has ended.

    Args:
        driver: JSON lines go there; a closed one means that the driver is gone.
        log: file of the run's output.
        limits: time and memory.
        work: is given the pipe to report through, and returns the exit code.
    """
    os.setsid()
    adopt_orphans()
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    output, printed = os.pipe()
    reports, reported = os.pipe()
    keeper = os.getpid()
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            die_with_parent(keeper)
            os.setsid()
            offer_to_the_kernel()
            driver.close()
            os.close(output)
            os.close(reports)
            _redirect(printed)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            code = work(reported)
        except BaseException:
            with suppress(BaseException):
                traceback.print_exc()
                sys.stderr.flush()
        finally:
            os._exit(code)
    os.close(printed)
    os.close(reported)
    _Watch(driver, pid, output, reports, OutputLog(log), limits).until_it_ends()


def _redirect(output: int) -> None:
    """Standard output and error go to the log, and there is no input."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    for each in (nothing, output):
        if each > 2:
            os.close(each)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc]


@dataclass
class _Watch:
    driver: socket.socket
    pid: int
    output: int
    reports: int
    log: OutputLog
    limits: Limits
    begun: float = field(default_factory=time.monotonic)
    waited: float = 0.0
    waiting_since: float | None = None
    seconds: float | None = None
    how: How = "ended"
    limit: str = ""
    kill_at: float | None = None
    said: str = ""
    line: bytes = b""

    def until_it_ends(self) -> None:
        self.driver.setblocking(False)
        if isinstance(self.limits.seconds, float | int):
            self.seconds = float(self.limits.seconds)
        most = self._most_bytes()
        exited = _pidfd(self.pid)
        poll = select.poll()
        for each in (self.driver.fileno(), self.output, self.reports, exited):
            if each is not None:
                poll.register(each, select.POLLIN)
        wait_ms = int(_LOOK_SECONDS * 1000) if exited is None or most is not None else 500
        status: int | None = None
        looked = 0.0
        while status is None:
            for ready, _events in poll.poll(wait_ms):
                if ready == self.driver.fileno():
                    self._hear()
                elif ready == self.output and not self._take_output():
                    poll.unregister(self.output)
                elif ready == self.reports and not self._take_reports():
                    poll.unregister(self.reports)
            now = time.monotonic()
            if now - looked >= _LOOK_SECONDS:
                looked = now
                self._hold_limits(now, most)
            ended, found = os.waitpid(self.pid, os.WNOHANG)
            status = found if ended else None
        end_descendants(os.getpid(), self.pid)
        for take, pipe in ((self._take_output, self.output), (self._take_reports, self.reports)):
            os.set_blocking(pipe, False)
            with suppress(BlockingIOError):
                while take():
                    pass
        self.log.close()
        self.driver.setblocking(True)
        self._tell(
            ended={
                "how": self.how,
                "code": os.waitstatus_to_exitcode(status),
                "said": self.said,
                "limit": self.limit,
                "seconds": time.monotonic() - self.begun,
            }
        )

    # -- inside ------------------------------------------------------------------------------------------------

    def _most_bytes(self) -> int | None:
        if self.limits.bytes != "auto":
            return self.limits.bytes
        free = free_bytes()
        if free is None:
            return None
        return int(free * FREE_SHARE) + resident_bytes([os.getpid()])  # what it shares with the nursery takes nothing

    def _hear(self) -> None:
        """The driver: `stop`, once, or its end."""
        try:
            heard = self.driver.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            heard = b""
        if not heard:
            end_descendants(os.getpid(), self.pid)
            os._exit(1)
        os.kill(self.pid, signal.SIGTERM)

    def _take_output(self) -> bool:
        content = os.read(self.output, _CHUNK)
        self.log.write(content)
        return bool(content)

    def _take_reports(self) -> bool:
        content = os.read(self.reports, _CHUNK)
        *lines, self.line = (self.line + content).split(b"\n")
        self.line = self.line[:_LINE_BYTES]
        for line in lines:
            self._report(line)
        return bool(content)

    def _report(self, line: bytes) -> None:
        """One line of the run's process, of which a plugin may have written anything."""
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            return
        if not isinstance(found, dict):
            return
        if isinstance(found.get("said"), str):
            self.said = found["said"]
        if isinstance(found.get("stuck_after"), float) and self.limits.seconds == "auto" and self.seconds is None:
            self.seconds = time.monotonic() - self.begun - self.waited + found["stuck_after"]
        phase, share = found.get("phase"), found.get("share")
        if isinstance(phase, str) and isinstance(share, float):
            now = time.monotonic()
            if phase.startswith("waiting"):
                self.waiting_since = self.waiting_since or now
            elif self.waiting_since is not None:
                self.waited, self.waiting_since = self.waited + now - self.waiting_since, None
            with suppress(BlockingIOError):  # a driver that is held up needs the latest only
                self._tell(progress=[phase[:200], share])

    def _hold_limits(self, now: float, most: int | None) -> None:
        if self.kill_at is not None:
            if now >= self.kill_at:
                os.kill(self.pid, signal.SIGKILL)
            return
        used = now - self.begun - self.waited
        if self.seconds is not None and self.waiting_since is None and used > self.seconds:
            self.how, self.limit = "timed-out", f"{self.seconds:.0f} s"
            self.kill_at = now + _GRACE_SECONDS
            os.kill(self.pid, signal.SIGTERM)  # what can be kept for the next time is kept
        elif most is not None and resident_bytes([self.pid, *descendants(self.pid)]) > most:
            self.how, self.limit, self.kill_at = "out-of-memory", f"{most / 1e9:.3g} GB", now
            os.kill(self.pid, signal.SIGKILL)

    def _tell(self, **content: Any) -> None:
        try:
            self.driver.sendall(json.dumps(content).encode() + b"\n")
        except BlockingIOError:
            raise
        except OSError:  # the driver is gone
            end_descendants(os.getpid(), self.pid)
            os._exit(1)


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None
