"""`bench new method`: what is written works, lints and is tested; what cannot be written is refused."""

import subprocess
import sys
from pathlib import Path

import pytest

import bench
from bench.cli.new_files import NewMethod, new_method
from bench.errors import UsageError

KINDS = ("structured", "unstructured")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["ab", "a-method-with-as-long-a-name-x", "method"])
def test_a_package_of_its_own_lints_and_is_formatted(kind: str, name: str, tmp_path: Path) -> None:
    made = new_method(name, kind, tmp_path / "package")
    assert {path.parent for path in made.paths} == {tmp_path / "package", tmp_path / "package" / "tests"}
    for words in (["check"], ["format", "--check", "--diff"]):
        done = ruff(*words, str(tmp_path / "package"))
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("kind", ["structured", pytest.param("unstructured", marks=pytest.mark.slow)])
def test_its_own_test_passes(kind: str, tmp_path: Path) -> None:
    new_method("mine", kind, tmp_path)
    words = ["-q", "-p", "no:cacheprovider", "-m", "not slow", "--rootdir", str(tmp_path), str(tmp_path / "tests")]
    done = python(tmp_path, "-m", "pytest", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed, 1 deselected" in done.stdout


def test_in_a_checkout_it_goes_beside_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = tmp_path / "checkout"
    for name in ("bench", "methods", "docs/deep"):
        (checkout / name).mkdir(parents=True)
    (checkout / "bench" / "__init__.py").write_text("")
    with pytest.raises(UsageError, match=r"but the bench that runs is in .*pip install -e .*--dir DIR"):
        new_method("new-one", here=checkout)
    assert not list((checkout / "methods").iterdir())

    monkeypatch.setattr(bench, "__file__", str(checkout / "bench" / "__init__.py"))
    made = new_method("new-one", here=checkout / "docs" / "deep")
    wanted = (checkout / "methods" / "new_one.py", checkout / "tests" / "methods" / "test_new_one.py")
    assert made.paths == wanted
    assert "from bench.methods.new_one import NewOne, filter_scores" in wanted[1].read_text()
    assert not any("pip install" in command for command in made.commands)
    with pytest.raises(UsageError, match=r"new_one\.py.* is there already"):
        new_method("new-one", here=checkout)


def test_outside_of_one_it_is_a_package_beside_and_the_next_commands_install_it(tmp_path: Path) -> None:
    made: NewMethod = new_method("new-one", here=tmp_path)
    assert made.commands[:3] == (
        "pip install -e bench-new-one",
        "pytest -q -m 'not slow' bench-new-one/tests/test_new_one.py",
        "bench check new-one",
    )
    entry = '[project.entry-points."bench.methods"]\nnew-one = "bench_new_one"'
    assert entry in (tmp_path / "bench-new-one" / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    "name", ["", "New", "-x", "x-", "a--b", "3d", "a b", "../a", "class", "all", "methods", "x" * 41]
)
def test_names_that_are_no_plugin_names_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be a method's name. Use"):
        new_method(name, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_installed_name_and_an_unknown_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'l1' is installed.*bench list methods"):
        new_method("l1", folder=tmp_path)
    with pytest.raises(UsageError, match="unknown kind 'both'. Use structured"):
        new_method("new", "both", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("mine")
    with pytest.raises(UsageError, match=r"pyproject.toml is there already"):
        new_method("new", folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["pyproject.toml"]
    assert (tmp_path / "pyproject.toml").read_text() == "mine"


def ruff(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "ruff", *words], capture_output=True, text=True)


def python(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Python in `folder`, whose modules it can import."""
    code = f"import runpy, sys; sys.path.insert(0, {str(folder)!r}); sys.argv = {list(words)[1:]!r}; "
    code += f"runpy.run_module({words[1]!r}, run_name='__main__')"
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
