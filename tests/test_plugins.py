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

    before = set(sys.modules)
    yield offer
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
