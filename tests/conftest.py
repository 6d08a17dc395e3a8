"""What all tests share: where real data are, when the machine has them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def real_data(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """The folder with real MNIST and CIFAR-10 in torchvision's layout; None where there is none.

    It is BENCH_TEST_DATA, or what a `restore` script beside the checkout unpacks.
    """
    given = os.environ.get("BENCH_TEST_DATA")
    if given:
        return Path(given)
    script = Path(__file__).resolve().parents[2] / "shared" / "data" / "restore"
    if not script.is_file():
        return None
    folder = tmp_path_factory.mktemp("data")
    subprocess.run([sys.executable, str(script), str(folder)], check=True, capture_output=True)
    os.environ["BENCH_TEST_DATA"] = str(folder)
    return folder
