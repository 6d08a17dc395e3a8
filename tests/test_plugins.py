"""Plugins are found in the folders and behind entry points; a broken one does not take the others down."""

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from subprocess import CompletedProcess

import pytest

import bench.plugins
from bench import Method, UsageError
from bench.plugins import discover
from bench.plugins import find as find_one
from bench.records.store import read_records
from bench.trial.methods import method_classes

TWIN = """
from bench import Method

class Twin(Method):
    name = {name!r}
    reference = "a toy"
    def prune(self, trial):
        pass
"""


@pytest.fixture
def entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """`entries(mine="source")`: a new `discover` finds these modules behind entry points, beside the folder's."""

    def offer(**modules: str) -> None:
        for name, source in modules.items():
            (tmp_path / f"{name}.py").write_text(source)
        found = [EntryPoint(name, name, "bench.methods") for name in modules]
        monkeypatch.setattr(bench.plugins, "entry_points", lambda group: found)
        monkeypatch.syspath_prepend(str(tmp_path))

    before, whole = set(sys.modules), dict(bench.plugins._whole)
    yield offer
    bench.plugins._whole.clear()
    bench.plugins._whole.update(whole)
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def find() -> bench.plugins.Discovered:
    return discover.__wrapped__("bench.methods", "bench.methods", Method)


def test_the_methods_of_the_folder_are_found_and_private_modules_are_not() -> None:
    assert {"dense", "random", "scratch", "l1", "hbfp"} <= set(method_classes())
    assert not any(method.__module__.rpartition(".")[2].startswith("_") for method in method_classes().values())


def test_controls_come_first() -> None:
    control = [method.control for method in method_classes().values()]
    assert control == sorted(control, reverse=True)


def test_a_module_behind_an_entry_point_brings_its_methods(entries: Callable[..., None]) -> None:
    entries(elsewhere=TWIN.format(name="twin"))
    assert find().get("twin").__module__ == "elsewhere"


def test_a_plugin_that_cannot_be_imported_is_named_only_when_a_name_is_not_found(entries: Callable[..., None]) -> None:
    entries(shaky="import no_such_module", sound=TWIN.format(name="twin"))
    found = find()
    assert found.get("twin").__module__ == "sound"
    with pytest.raises(UsageError, match=r"unknown method 'shaky'.*could not be imported: shaky .*no_such_module"):
        found.get("shaky")


def test_two_plugins_of_one_name_are_refused(entries: Callable[..., None]) -> None:
    entries(other=TWIN.format(name="l1"))
    with pytest.raises(UsageError, match=r"two plugins are called 'l1': bench.methods.l1 and other. Rename one"):
        find()


def test_a_method_in_another_package_is_found_by_its_entry_point(bench: Callable[..., CompletedProcess[str]]) -> None:
    done = bench("list", "methods", "--json")
    assert done.returncode == 0
    assert '"name": "halve"' in done.stdout


@pytest.mark.parametrize("source", ["import sys; sys.exit(3)", "from bench.methods.l1 import L1", "Method = int"])
def test_an_entry_point_that_brings_nothing_is_named(entries: Callable[..., None], source: str) -> None:
    entries(empty=source)
    (complaint,) = find().complaints
    assert complaint.startswith("empty (empty): ")
    assert "SystemExit" in complaint or "offers no class that derives from bench.trial.method.Method" in complaint


def test_a_plugin_is_found_without_importing_the_others(entries: Callable[..., None], tmp_path: Path) -> None:
    note = f"open({str(tmp_path / 'imported')!r}, 'a').write(__name__ + ' ')\n"
    entries(first_one=note + TWIN.format(name="first"), other_one=note + TWIN.format(name="other"))
    bench.plugins._whole.clear()
    found = find_one("bench.methods", "bench.methods", Method, "first")
    assert (found.__module__, found.__name__) == ("first_one", "Twin")
    assert set((tmp_path / "imported").read_text().split()) == {"first_one"}
    assert find_one("bench.methods", "bench.methods", Method, "l1") is method_classes()["l1"]
    with pytest.raises(UsageError, match="nothing-like-it"):
        find_one("bench.methods", "bench.methods", Method, "nothing-like-it")


def test_every_plugin_of_the_folders_is_found_by_its_source_alone() -> None:
    for name, method in method_classes().items():
        if method.__module__.startswith("bench.methods."):
            assert bench.plugins._by_source("bench.methods", "bench.methods", Method, name) is method


@pytest.mark.parametrize(
    ("act", "said"),
    [
        ("import os; os._exit(0)", "ends the process, with exit code 0"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "ends the process, with signal 9"),
        ("raise KeyboardInterrupt", "raises what is no error"),
        ("import sys; sys.exit(0)", "SystemExit: 0"),
    ],
)
def test_a_plugin_that_ends_the_process_as_it_is_imported_is_kept_aside(
    entries: Callable[..., None], act: str, said: str
) -> None:
    entries(fatal_one=f"print('hello')\n{act}", fine_one=TWIN.format(name="fine"))
    found = find()
    assert "fine" in found.classes
    assert said in found.broken["fatal_one (fatal_one)"]


@pytest.mark.slow
def test_what_a_plugin_does_as_it_is_imported_changes_no_other_run(
    bench: Callable[..., CompletedProcess[str]], smoke_track: Path, tmp_path: Path
) -> None:
    source = """
import os
import torch
from torch import nn
from bench import Method

torch.set_default_dtype(torch.float64)
torch.manual_seed = lambda seed: None
torch.set_num_threads(2)
torch.backends.mkldnn.enabled = False
real = nn.functional.cross_entropy
nn.functional.cross_entropy = lambda *a, **k: 1.5 * real(*a, **k)
nn.modules.module.register_module_forward_hook(lambda m, i, o: o * 0.9 if isinstance(o, torch.Tensor) else o)
if "{end}":
    os._exit(0)

class Harmful(Method):
    name = "harmful"
    reference = "a toy"
    def prune(self, trial):
        trial.surgery.remove(trial.surgery.fit())
"""
    about = tmp_path / "plugins" / "harmful-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: harmful\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[bench.methods]\nharmful = harmful_plugin\n")
    module = tmp_path / "plugins" / "harmful_plugin.py"
    words = ["run", "--track", str(smoke_track), "--target", "macs=0.5", "--wandb", "off", "--method"]
    found = {}
    for case, methods, end in (("alone", "l1", None), ("beside", "harmful,l1", ""), ("fatal", "l1", "yes")):
        store = tmp_path / case
        module.write_text(source.replace("{end}", end or ""))
        path = {} if end is None else {"PYTHONPATH": str(module.parent)}
        done = bench(*words, methods, "--store", str(store), **path)
        assert done.returncode == (1 if case == "beside" else 0), done.stderr
        records = {record.method: record for record in read_records(store)[0]}
        assert set(records) == set(methods.split(","))
        honest = records["l1"]
        assert honest.dense is not None and honest.pruned is not None
        found[case] = honest.status, honest.dense.weights_sha256, honest.pruned.weights_sha256, honest.curve
    assert found["alone"] == found["beside"] == found["fatal"]
