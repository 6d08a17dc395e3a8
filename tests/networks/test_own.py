"""Networks from files: made as their constructor makes them, given weights, begun anew."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bench.errors import UsageError
from bench.networks.base import NetworkSpec
from bench.networks.own import OwnNetwork
from bench.networks.registry import network
from bench.networks.weights import load_weights
from bench.plugins.imported import imported, is_import

SPEC = NetworkSpec(3, (6, 8), 4)
FILE = """
import torch
from torch import nn
from beside import WIDTH


class Net(nn.Module):
    def __init__(self, width=WIDTH, scale=None):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.token = nn.Parameter(torch.randn(width))
        self.ones = nn.Parameter(torch.ones(width))
        self.fc = nn.Linear(width, 4)

    def forward(self, images):
        return self.fc(self.conv(images).mean((2, 3)) * self.ones + self.token)


class Loaded(Net):
    def __init__(self):
        super().__init__()
        with torch.no_grad():
            self.token.copy_(torch.arange(len(self.token)))


def pair():
    return Pair()


class Pair(Net):
    def forward(self, images):
        return super().forward(images), None


made = Net()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """net.py and beside.py, which it imports."""
    (tmp_path / "net.py").write_text(FILE)
    (tmp_path / "beside.py").write_text("WIDTH = 5\n")
    return tmp_path


def test_names_of_things_to_import() -> None:
    assert is_import("my_net.py:MyNet") and is_import("package.module:function") and is_import("/a b/c.py:D")
    assert not any(map(is_import, ("lenet5", "my_net.py", "my_net.py:", "my_net.py:My-Net", "a b:c", "C:/x")))


def test_a_network_is_made_with_its_settings(folder: Path) -> None:
    assert network("net.py:Net", root=folder).construct(SPEC).conv.out_channels == 5
    assert network("net.py:Net", {"width": 7}, folder).construct(SPEC).conv.out_channels == 7
    assert imported("net.py:Net", folder) is imported("net.py:Net", folder)  # once
    assert not list(folder.rglob("__pycache__"))


def test_an_edited_file_is_imported_anew(folder: Path) -> None:
    before = network("net.py:Net", root=folder).construct(SPEC)
    (folder / "net.py").write_text(FILE.replace("width=WIDTH", "width=6"))
    assert (before.conv.out_channels, network("net.py:Net", root=folder).construct(SPEC).conv.out_channels) == (5, 6)


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("net.py:Net", {"wide": 3}, r"Net\(wide=3\) raises TypeError.*--set KEY=VALUE"),
        ("net.py:made", {}, "is a network that is made already. Name its class"),
        ("net.py:pair", {}, r"gives a tuple, not one tensor \[N, classes\]"),
        ("net.py:torch", {}, "raises TypeError|gives a"),
        ("none.py:Net", {}, "there is no file"),
        ("nowhere_at_all.net:Net", {}, "there is no module 'nowhere_at_all'"),
        ("lenet5", {"width": 3}, "takes no settings"),
    ],
)
def test_what_is_no_network_is_refused(folder: Path, name: str, settings: dict[str, int], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        network(name, settings, folder).construct(SPEC)


def test_other_images_are_refused_with_what_to_give(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"does not take images of 1x6x8 .*--size HxW"):
        network("net.py:Net", root=folder).construct(NetworkSpec(1, (6, 8), 4))


def test_beginning_anew_draws_every_parameter_at_the_present_widths(folder: Path) -> None:
    plugin = network("net.py:Net", root=folder)
    made = plugin.build(SPEC)
    narrow = nn.Module()
    narrow.conv, narrow.fc = nn.Conv2d(3, 2, 3), nn.Linear(2, 4)
    narrow.token, narrow.ones = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    before = {name: value.clone() for name, value in narrow.named_parameters()}
    plugin.initialise(narrow)
    assert all(not torch.equal(before[name], value) for name, value in narrow.named_parameters())
    assert narrow.ones.tolist() == [1, 1]
    assert not torch.equal(made.token, plugin.build(SPEC).token)


def test_what_a_constructor_always_makes_alike_cannot_begin_anew(folder: Path) -> None:
    plugin = network("net.py:Loaded", root=folder)
    assert isinstance(plugin, OwnNetwork)
    made = plugin.construct(SPEC)
    with pytest.raises(UsageError, match="token has the same values each time.*reset_parameters"):
        plugin.initialise(made)


def test_weights_fit_by_name_with_any_wrapping(folder: Path) -> None:
    trained = network("net.py:Net", root=folder).construct(SPEC)
    state = trained.state_dict()
    torch.save(state, folder / "a.pt")
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}, folder / "b.pt")
    save_file(state, folder / "c.safetensors")
    save_file(state, folder / "d.bin")
    torch.save({k: v.half() for k, v in state.items()}, folder / "e.pt")
    for name in ("a.pt", "b.pt", "c.safetensors", "d.bin", "e.pt"):
        made = network("net.py:Net", root=folder).construct(SPEC)
        load_weights(made, folder / name)
        for key, value in made.state_dict().items():
            assert torch.allclose(value, state[key], atol=0.002 if name == "e.pt" else 0), name


def test_weights_that_do_not_fit_leave_the_network_as_it_was(folder: Path) -> None:
    made = network("net.py:Net", root=folder).construct(SPEC)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    torch.save({**before, "conv.weight": torch.zeros(5, 3, 5, 5), "extra": torch.zeros(1)}, folder / "w.pt")
    with pytest.raises(UsageError, match=r"conv.weight is \(5, 3, 5, 5\) in the file.*not in the network: extra"):
        load_weights(made, folder / "w.pt")
    assert all(torch.equal(before[name], value) for name, value in made.state_dict().items())
