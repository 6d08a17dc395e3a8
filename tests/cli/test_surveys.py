"""`bench groups` as a user types it: shares, refusals and errors of networks by name."""

import json

import pytest

from bench.cli.main import main


def typed(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `bench groups ARGUMENTS`."""
    with pytest.raises(SystemExit) as left:
        main(["groups", *arguments])
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


def test_numbers_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = typed("lenet5", "--target", "macs=0.5", "--json", capsys=capsys)
    (row,) = json.loads(out)
    assert code == 0
    convolutions = 20 * 25 * 24 * 24 + 50 * 20 * 25 * 8 * 8
    linear = 50 * 16 * 500 + 500 * 10
    assert row["macs"] == convolutions + linear
    assert row["share"] == pytest.approx(1 - 500 * 10 / row["macs"])  # conv2's channels reach fc1, not fc2
    least = 25 * 24 * 24 + 25 * 8 * 8 + 16 * 500 + 5000
    assert row["least_ratio"] == pytest.approx(least / row["macs"])
    assert (row["network"], row["shape"], row["groups"], row["channels"]) == ("lenet5", [1, 28, 28], 2, 70)
    assert row["seconds"] > 0
    (attempt,) = row["attempts"]
    assert attempt["ratio"] == pytest.approx(0.5, abs=0.01)
    assert "own weights" in attempt["proof"]


def test_the_table_names_targets_and_refusals(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("resnet20,lenet5", "--size", "32", "--classes", "7", "--prunable", "conv1", "--target", "macs=0.01")
    code, out, _ = typed(*arguments, capsys=capsys)
    assert code == 1
    assert "3x32x32" in out
    assert "1x32x32" in out
    assert out.count("refused") >= 4  # in the table, and why
    assert "Choose a larger target" in " ".join(out.split())


def test_what_cannot_be_built_for_the_images_is_said_beside_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = typed("alexnet", "lenet5", "--size", "28x28", "--json", capsys=capsys)
    small, fine = json.loads(out)
    assert code == 1
    assert "alexnet needs images of 63x63" in small["error"]
    assert fine["error"] is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("resnet21",), "resnet20"),
        (("lenet5", "--size", "28by28"), "write HEIGHTxWIDTH"),
        (("lenet5", "--target", "macs=5"), "macs=5"),
        (("lenet5", "--prunable", "conv9"), "conv1"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = typed(*arguments, capsys=capsys)
    assert code in (1, 2)
    assert said in out + err
