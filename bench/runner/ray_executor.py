"""Runs on a Ray cluster: an existing one by its address, or one started on this machine.

Each run asks Ray for one GPU, or for the track's CPU threads, and is a process of its own on its node, started and kept
as on this machine (`workers`). The code and the plugins travel with it (`travel`, `runtime_env`), data are found or
fetched on each node, by one run at a time. While
it runs, what a run leaves lies in a folder of its node; at its end, and at each look in between, its journal, record,
network and log come back to the driver's store, whole or not at all. So a lost worker's or node's run goes on elsewhere
from the last journal that came back.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from pickle import dumps
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.journal import interrupt
from bench.runner.executor import ExecutorOptions, Finish, Progress
from bench.runner.keeper import Ended
from bench.runner.limits import Limits
from bench.runner.output_log import LOG
from bench.runner.run_process import Task
from bench.runner.travel import pack_code
from bench.runner.workers import finish_of

if TYPE_CHECKING:
    from bench.runner.jobs import Job
    from bench.runner.queue import JobQueue
    from bench.runner.run import Workplace

__all__ = ["RayExecutor"]

_LOOK_SECONDS = 1.0
_FETCH_SECONDS = 10.0
_STORE = "bench-ray-"


class RayExecutor:
    """Runs jobs as Ray actors.

    Args:
        options: `address` of a cluster, else one is started here; `workers` runs at once, as far as the cluster has
            room.

    Raises:
        UsageError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, options: ExecutorOptions) -> None:
        try:
            import ray
        except ImportError:
            raise UsageError("Ray is not installed: pip install 'bench[ray]'.") from None
        self._ray: Any = ray
        self._limits, self._workers = options.limits, options.workers
        self._code = tempfile.TemporaryDirectory(prefix="bench-code-")
        self._owned = not ray.is_initialized()
        if self._owned:
            here: dict[str, Any] = (
                {"num_cpus": max(options.workers, os.cpu_count() or 1)} if options.address is None else {}
            )
            try:
                ray.init(
                    address=options.address,
                    log_to_driver=False,
                    include_dashboard=False,
                    configure_logging=False,
                    runtime_env={"working_dir": str(pack_code(Path(self._code.name) / "code"))},
                    **here,
                )
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise UsageError(f"no Ray cluster at {options.address!r}: {error}.") from None

    def close(self) -> None:
        """Leaves the cluster; one that was started here ends."""
        if self._owned:
            self._ray.shutdown()
        self._code.cleanup()

    def run(self, queue: JobQueue, workplace: Workplace, progress: Progress) -> Iterator[Finish]:
        """How each job ended, as they end.

        Raises:
            KeyboardInterrupt: somebody asked to stop; every run is kept where it is.
        """
        busy: dict[Any, tuple[Job, Any, float]] = {}
        try:
            while queue.left or busy:
                while len(busy) < self._workers and (job := queue.take()):
                    actor = self._actor(job)
                    busy[actor.run.remote(*self._order(job, workplace))] = (job, actor, time.monotonic())
                if not busy:
                    interrupt.pause(_LOOK_SECONDS)
                    continue
                if interrupt.requested():
                    for _, actor, _ in busy.values():
                        actor.stop.remote()
                ended, _ = self._ray.wait(list(busy), timeout=_LOOK_SECONDS)
                for reference in ended:
                    job, actor, _ = busy.pop(reference)
                    yield self._finish(job, reference, workplace)
                    self._ray.kill(actor)
                for reference, (job, actor, fetched) in list(busy.items()):
                    with suppress(self._ray.exceptions.RayError):
                        phase, share = self._ray.get(actor.progress.remote(), timeout=5)
                        progress(job, phase, share)
                        if time.monotonic() - fetched > _FETCH_SECONDS:
                            _unpack(self._ray.get(actor.files.remote(), timeout=60), workplace.store.root)
                            busy[reference] = (job, actor, time.monotonic())
            if interrupt.requested():
                raise KeyboardInterrupt
        finally:
            for _, actor, _ in busy.values():
                self._ray.kill(actor)

    def _actor(self, job: Job) -> Any:
        gpu = job.spec.device == "cuda"
        needs = {"num_gpus": 1, "num_cpus": 0} if gpu else {"num_cpus": job.spec.track.threads}
        variables = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(("BENCH_", "OMP_")) and name != "BENCH_DATA"
        }
        remote = self._ray.remote(max_concurrency=4, max_restarts=0, **needs)(_Runner)
        return remote.options(runtime_env={"env_vars": variables}).remote()

    def _order(self, job: Job, workplace: Workplace) -> tuple[bytes, list[bytes], str, Limits]:
        """The job, what is here of its journal and its dense network, the data folder, and the limits."""
        from bench.runner.dense import committed_dense, dense_key

        key = dense_key(job.spec)
        here = workplace.store.root if not (committed_dense() / key).is_dir() else committed_dense().parent
        files = [_pack(workplace.store.root, job.spec.run_id), _pack(here, f"dense/{key}")]
        return dumps(job), files, str(workplace.data_folder.absolute()), self._limits

    def _finish(self, job: Job, reference: Any, workplace: Workplace) -> Finish:
        try:
            ended, told, files = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            return Finish(job, "lost", f"its node or worker is gone ({type(error).__name__}).")
        _unpack(files, workplace.store.root)
        return finish_of(job, ended, told, workplace.store.folder(job.spec.run_id) / LOG)


class _Runner:
    """On a node: one run in a process of its own, in a store of its own."""

    def __init__(self) -> None:
        _sweep_stores()
        self._store = Path(tempfile.mkdtemp(prefix=f"{_STORE}{os.getpid()}-"))
        self._run_id = ""
        self._phase: tuple[str, float] = ("starting", 0.0)
        self._stop = threading.Event()

    def run(self, job: bytes, files: list[bytes], data_folder: str, limits: Limits) -> tuple[Ended | None, bool, bytes]:
        """Carries the job out; how its process ended, whether it was told to stop, and what it left."""
        import pickle

        from bench.runner.nursery import Nursery, Order
        from bench.runner.workers import Worker

        found = pickle.loads(job)
        self._run_id = found.spec.run_id
        for each in files:
            _unpack(each, self._store)
        nursery = Nursery()
        try:
            log = self._store / self._run_id / LOG
            task = Task(job, self._store, Path(data_folder))
            worker = Worker(0, found, nursery.launch(Order(task, log, limits)))
            worker.socket.settimeout(0.5)
            while worker.ended is None:
                if self._stop.is_set():
                    worker.stop()
                with suppress(TimeoutError):
                    if not worker.hear():
                        break
                for message in worker.take_messages():
                    if "progress" in message:
                        self._phase = (message["progress"][0], message["progress"][1])
            return worker.ended, worker.told, self.files()
        finally:
            nursery.close()
            shutil.rmtree(self._store, ignore_errors=True)

    def progress(self) -> tuple[str, float]:
        """The run's phase, and how far it is."""
        return self._phase

    def stop(self) -> None:
        """Asks the run to stop where it can be taken up."""
        self._stop.set()

    def files(self) -> bytes:
        """What the run has left so far."""
        return _pack(self._store, self._run_id, "dense")


def _sweep_stores() -> None:
    """Removes the stores of actors that were killed on this node."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_STORE}*"):
        pid = folder.name.removeprefix(_STORE).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            shutil.rmtree(folder, ignore_errors=True)


def _pack(store: Path, *folders: str) -> bytes:
    """Folders of a store as a tar archive; files that go meanwhile are left out."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for path in sorted(path for folder in folders if folder for path in (store / folder).rglob("*")):
            if path.is_file() and not path.name.endswith(".part"):
                with suppress(OSError):
                    content = path.read_bytes()
                    entry = tarfile.TarInfo(path.relative_to(store).as_posix())
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
    return made.getvalue()


def _unpack(files: bytes, store: Path) -> None:
    """Puts a run's files into a store, each whole or not at all, what makes them count last.

    A dense network that is there already stays.
    """
    from bench.records.store import write_atomically

    with tarfile.open(fileobj=io.BytesIO(files)) as archive:
        entries = sorted(archive.getmembers(), key=lambda entry: entry.name.endswith(("record.json", "dense.json")))
        journal = {entry.name for entry in entries}
        for entry in entries:
            source = archive.extractfile(entry)
            parts = Path(entry.name).parts
            if source is None or ".." in parts or Path(entry.name).is_absolute():
                continue
            if parts[0] == "dense" and (store / parts[0] / parts[1] / "dense.json").is_file():
                continue
            content = source.read()
            write_atomically(store / entry.name, lambda path, content=content: _fill(path, content))  # type: ignore[misc]
    if any(name.endswith("record.json") for name in journal):
        for name in {Path(name).parts[0] for name in journal}:
            if not any(each.startswith(f"{name}/journal/") for each in journal):
                shutil.rmtree(store / name / "journal", ignore_errors=True)


def _fill(path: Path, content: bytes) -> None:
    path.write_bytes(content)
