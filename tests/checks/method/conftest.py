"""What tests of `bench check` share."""

from typing import Any

import pytest

from bench.checks.method.case import Case


@pytest.fixture
def shared_dense(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first store of each check has the dense networks of those before it; the second is its own."""
    shared = tmp_path_factory.getbasetemp() / "dense-of-the-kit"
    shared.mkdir(exist_ok=True)
    real = Case.__init__

    def made(case: Case, *given: Any, **named: Any) -> None:
        real(case, *given, **named)
        (case.folder / "first").mkdir(exist_ok=True)
        (case.folder / "first" / "dense").symlink_to(shared)

    monkeypatch.setattr(Case, "__init__", made)
