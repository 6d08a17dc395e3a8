"""What a network is, before it is trained: its code, and the weights that files give it.

Two networks of the same identity come out of `build` the same for the same seed; one that was edited, or whose file of
weights was replaced, has another identity, and so other runs and another dense network.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType

import torch
from torch import nn

from bench.data.hashes import file_sha256
from bench.errors import UsageError
from bench.networks.base import Network, NetworkSpec
from bench.networks.live import LiveNetwork
from bench.networks.own import OwnNetwork
from bench.plugins.imported import module_of
from bench.specs.code import Source, library_of, source_of

__all__ = ["NetworkIdentity", "network_identity"]


@dataclass(frozen=True)
class NetworkIdentity:
    """Code and given weights of a network.

    Attributes:
        source: its own modules, and the libraries that they import by version.
        weights_sha256: of what files give it; None where all its weights are drawn.
    """

    source: Source = field(default_factory=Source)
    weights_sha256: str | None = None


def network_identity(plugin: Network, spec: NetworkSpec, weights: Path | None = None) -> NetworkIdentity:
    """The identity of a network for images and labels of this kind.

    Given weights are those of the file that the track or the plugin names (`Network.weights`). A network that a user
    builds or initialises may read files without naming them: parameters that two seeds leave equal, and that are no
    constant, are taken as given.

    Args:
        plugin: the network.
        spec: what it is built for.
        weights: file of trained weights that the track gives.

    Raises:
        UsageError: the network has no source that can be read, or its weights' file cannot be.
    """
    files = [path for path in (plugin.weights, weights) if path is not None]
    if missing := [str(path) for path in files if not Path(path).is_file()]:
        raise UsageError(f"weights {missing[0]}: there is no such file. Give the file of a state_dict.")
    given = [file_sha256(Path(path)) for path in files]
    if weights is None and _may_read_files(plugin) and (fixed := _fixed(plugin, spec)):
        given.append(fixed)
    digest = hashlib.sha256("\n".join(given).encode()).hexdigest() if given else None
    return NetworkIdentity(_source(plugin, spec), digest)


def _source(plugin: Network, spec: NetworkSpec) -> Source:
    if isinstance(plugin, LiveNetwork):
        return _source_of_object(plugin.construct(spec))
    if not isinstance(plugin, OwnNetwork):
        return source_of(type(plugin).__module__, with_libraries=True)
    module = module_of(plugin.name, plugin.root).__name__
    if plugin.file is not None:
        folder, label = plugin.file.resolve().parent, plugin.file.name
        return source_of(module, folder, with_libraries=True, label=label)
    folder = (plugin.root or Path()).resolve()
    return library_of(module, folder) or source_of(module, folder, with_libraries=True)


def _source_of_object(network: nn.Module) -> Source:
    """The code of all classes in a network that was handed over: from their files, else from what Python compiled."""
    modules: dict[str, str] = {}
    libraries: dict[str, str] = {}
    for cls in {type(module) for module in network.modules()}:
        if cls.__module__.partition(".")[0] == "torch":
            continue
        if found := library_of(cls.__module__):
            libraries.update(found.libraries)
            continue
        try:
            source = source_of(cls.__module__, with_libraries=True)
        except UsageError:  # typed into a notebook
            functions = {name: each for name, each in vars(cls).items() if hasattr(each, "__code__")}
            text = "".join(f"{name} {_compiled(functions[name].__code__)}" for name in sorted(functions))
            modules[f"{cls.__module__}.{cls.__qualname__}"] = hashlib.sha256(text.encode()).hexdigest()
        else:
            modules.update(source.modules)
            libraries.update(source.libraries)
    return Source(dict(sorted(modules.items())), dict(sorted(libraries.items())))


def _compiled(code: CodeType) -> str:
    """What a function does, without its docstring and lines."""
    constants = code.co_consts[1:] if code.co_consts and isinstance(code.co_consts[0], str) else code.co_consts
    inner = [_compiled(each) if isinstance(each, CodeType) else repr(each) for each in constants]
    return f"{code.co_code.hex()} {code.co_names} {inner}"


def _may_read_files(plugin: Network) -> bool:
    cls = type(plugin)
    own_way = cls.build is not Network.build or cls.initialise is not Network.initialise
    return own_way and (isinstance(plugin, OwnNetwork) or not cls.__module__.startswith("bench."))


def _fixed(plugin: Network, spec: NetworkSpec) -> str:
    """Hash over the parameters that do not depend on the seed; empty where there are none."""
    one, two = (_drawn(plugin, spec, seed) for seed in (0, 1))
    others = dict(two.named_parameters())
    digest, any_fixed = hashlib.sha256(), False
    for name, parameter in sorted(one.named_parameters()):
        values, other = parameter.detach(), others.get(name)
        if other is None or not torch.equal(values, other.detach()) or not values.numel():
            continue
        if bool((values == values.flatten()[0]).all()):
            continue
        any_fixed = True
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        digest.update(values.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest() if any_fixed else ""


def _drawn(plugin: Network, spec: NetworkSpec, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return plugin.build(spec)
