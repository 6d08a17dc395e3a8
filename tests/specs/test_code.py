"""What code a plugin is: its own modules, followed, without comments; libraries by version."""

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.specs.code import definition_sha256, normalised, source_of, source_sha256


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of plugins: `one` to `six` come to `_part` by other ways, and all but `six` through it to `_deep`."""
    folder = tmp_path / "family"
    (folder / "inner").mkdir(parents=True)
    for name, text in {
        "__init__.py": "WIDTH = 1\n",
        "one.py": "from family._part import x\n",
        "two.py": "from . import _part\nimport torch\n",
        "three.py": "import family._part as part\n",
        "four.py": "def build():\n    from ._part import x\n    return x\n",
        "five.py": "import importlib\npart = importlib.import_module('family._part')\n",
        "six.py": "from family import WIDTH\n",
        "inner/__init__.py": "",
        "inner/seven.py": "from .. import _part\nfrom ..inner.eight import y\n",
        "inner/eight.py": "y = 1\n",
        "_part.py": "from ._deep import x\n",
        "_deep.py": "x = 1\n",
        "_other.py": "",
    }.items():
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "family"]:
        del sys.modules[name]


@pytest.mark.parametrize("module", ["one", "two", "three", "four", "five", "inner.seven"])
@pytest.mark.parametrize("edited", ["{}.py", "_part.py", "_deep.py"])
def test_the_hash_follows_every_kind_of_import_among_a_plugins_own_modules(
    package: Path, module: str, edited: str
) -> None:
    before = source_sha256(f"family.{module}")
    with (package / edited.format(module.replace(".", "/"))).open("a") as file:
        file.write("z = 2\n")
    assert source_sha256(f"family.{module}") != before


def test_what_the_package_itself_defines_counts_where_it_is_imported(package: Path) -> None:
    before = {name: source_sha256(f"family.{name}") for name in ("one", "six")}
    (package / "__init__.py").write_text("WIDTH = 2\n")
    del sys.modules["family"]  # which looking for its modules had imported
    assert source_sha256("family.six") != before["six"]
    assert source_sha256("family.one") == before["one"]


@pytest.mark.parametrize("edited", ["_other.py", "two.py", "__init__.py", "inner/eight.py"])
def test_what_is_not_imported_does_not_count(package: Path, edited: str) -> None:
    before = source_sha256("family.one")
    (package / edited).write_text("a = 3\n")
    assert source_sha256("family.one") == before


PLAIN = """
import torch

class Net:
    def forward(self, x):
        return torch.relu(x) + 1

    def empty(self):
        pass
"""
SAID = '''
"""A module."""

# a comment
import torch   # another


class Net:
    """A class."""

    width: "how wide"
    def forward(self, x):
        """Docs."""
        # said
        return (torch.relu(x)
                + 1)

    def empty(self):
        """Nothing."""
'''


def test_comments_docstrings_and_layout_do_not_count_and_everything_else_does(package: Path) -> None:
    (package / "one.py").write_text(PLAIN)
    before = source_sha256("family.one")
    (package / "one.py").write_text(SAID.replace('    width: "how wide"\n', ""))
    assert source_sha256("family.one") == before
    for old, new in (
        ("relu", "silu"),
        ("+ 1", "+ 1.0"),
        ("+ 1", "- 1"),
        ("forward", "backward"),
        ("return ", ""),
        ("class Net", "class Other"),
        ("return torch", "x = x\n        return torch"),
    ):
        assert old in PLAIN
        (package / "one.py").write_text(PLAIN.replace(old, new))
        assert source_sha256("family.one") != before, (old, new)


def test_the_written_tree_is_the_same_in_every_version_of_python() -> None:
    tree = ast.parse("def f(a, *, b=1.5) -> None:\n    'docs'\n    return f'{a!r:>3}' if b else None\n")
    assert normalised(tree) == (
        "Module(body=[FunctionDef(name='f'args=arguments(args=[arg(arg='a'),]kwonlyargs=[arg(arg='b'),]"
        "kw_defaults=[Constant(value=1.5),])body=[Return(value=IfExp(test=Name(id='b')body=JoinedStr("
        "values=[FormattedValue(value=Name(id='a')conversion=114format_spec=JoinedStr(values=[Constant(value='>3'),])"
        "),])orelse=Constant())),]returns=Constant()),])"
    )


def test_a_library_counts_by_its_version_where_that_is_asked_for(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (package / "one.py").write_text("def f():\n    import torchvision.models\n    from timm import create_model\n")
    source = source_of("family.one", with_libraries=True)
    assert list(source.modules) == ["family.one"]
    assert list(source.libraries) == ["timm", "torchvision"]
    assert source.lines()["timm"].startswith("== 1.")
    assert source_of("family.one").libraries == {}
    monkeypatch.setattr("bench.specs.code._version", lambda _name: "0.0")
    from bench.specs.code import _distributions

    _distributions.cache_clear()
    assert source_of("family.one", with_libraries=True).sha256 != source.sha256
    _distributions.cache_clear()


def test_the_harness_and_the_standard_library_do_not_count(package: Path) -> None:
    (package / "one.py").write_text("import json, torch, numpy\nfrom bench import Method\nfrom bench.rl import x\n")
    assert list(source_of("family.one", with_libraries=True).modules) == ["family.one"]
    assert source_of("family.one", with_libraries=True).libraries == {}


def test_a_built_in_plugin_that_is_imported_counts(package: Path) -> None:
    (package / "one.py").write_text(
        "from bench.networks.lenet import LeNet5\nfrom bench.networks.base import Network\n"
    )
    assert list(source_of("family.one").modules) == ["bench.networks.lenet", "family.one"]


def test_a_file_beside_a_folder_of_its_own_is_followed_there(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from blocks_of_mine import Block\n")
    (tmp_path / "blocks_of_mine.py").write_text("Block = 1\n")
    before = source_of("mine", tmp_path)
    assert list(before.modules) == ["blocks_of_mine", "mine"]
    (tmp_path / "blocks_of_mine.py").write_text("Block = 2\n")
    assert source_of("mine", tmp_path).sha256 != before.sha256


def test_a_module_without_source_is_refused() -> None:
    with pytest.raises(UsageError, match="no_such_module has no source file"):
        source_of("no_such_module")


def test_a_module_that_was_edited_after_its_import_is_refused_until_it_is_imported_again(package: Path) -> None:
    importlib.import_module("family.one")
    before = source_sha256("family.one")
    with (package / "one.py").open("a") as file:
        file.write("z = 3\n")
    with pytest.raises(UsageError, match=r"family.one was edited after .* Give the command again"):
        source_sha256("family.one")
    importlib.reload(sys.modules["family.one"])
    assert source_sha256("family.one") != before


CLASS = """
from ._part import x
LIMIT = 3
def helper(): return LIMIT
def unrelated(): return 1
class Seen:
    def observe(self): return helper() + x
class Method:
    def prune(self): return 1
"""


@pytest.mark.parametrize(
    ("old", "new", "counts"),
    [
        ("LIMIT = 3", "LIMIT = 4", True),
        ("return LIMIT", "return LIMIT + 1", True),
        ("helper() + x", "helper() - x", True),
        ("def prune(self): return 1", "def prune(self): return 2", False),
        ("def unrelated(): return 1", "def unrelated(): return 2", False),
    ],
)
def test_a_class_counts_with_what_it_names_of_its_module(package: Path, old: str, new: str, counts: bool) -> None:
    (package / "one.py").write_text(CLASS)
    cls = importlib.import_module("family.one").Seen
    before = definition_sha256(cls)
    assert old in CLASS
    (package / "one.py").write_text(CLASS.replace(old, new))
    assert (definition_sha256(cls) != before) is counts


def test_a_class_counts_with_the_modules_that_it_comes_from(package: Path) -> None:
    (package / "one.py").write_text(CLASS)
    cls = importlib.import_module("family.one").Seen
    before = definition_sha256(cls)
    del sys.modules["family._deep"], sys.modules["family._part"]
    (package / "_deep.py").write_text("x = 5\n")
    assert definition_sha256(cls) != before
