"""Every method's `prune` is read on one screen: sixty lines at most, its docstring aside."""

import ast
import inspect
import textwrap

import pytest

from bench.runner.jobs import method_classes

SCREEN = 60


@pytest.mark.parametrize("name", sorted(method_classes()))
def test_prune_fits_one_screen(name: str) -> None:
    source = textwrap.dedent(inspect.getsource(method_classes()[name].prune))
    (function,) = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    docstring, *body = function.body
    assert ast.get_docstring(function), "say in a sentence what it does"
    first = body[0].lineno if body else docstring.lineno
    assert (function.end_lineno or first) - first + 1 <= SCREEN
