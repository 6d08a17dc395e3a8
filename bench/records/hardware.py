"""The machine that a run is made on: what it is, and everything on it that can change the bits of a result."""

import os
import platform
from functools import cache
from pathlib import Path
from typing import Any

import torch

__all__ = ["BITS", "device_class", "environment", "hardware", "machine", "numerics"]

BITS = ("processor", "model", "cpu_capability", "system")
"""Fields of `hardware` that bits depend on."""

# Of the libraries below torch: instruction sets and code paths that they may take, threads, and what cuBLAS reserves.
_VARIABLES = (
    *("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"),
    *("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "ATEN_CPU_CAPABILITY", "TORCH_DISABLE_MKLDNN"),
    *("MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "MKL_DEBUG_CPU_TYPE", "MKL_NUM_THREADS", "MKL_DYNAMIC"),
    *("OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS", "BLIS_ARCH_TYPE", "VECLIB_MAXIMUM_THREADS"),
    *("OMP_NUM_THREADS", "OMP_DYNAMIC", "KMP_DETERMINISTIC_REDUCTION"),
    *("CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"),
    *("CUDNN_DETERMINISTIC", "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES", "GLIBC_TUNABLES"),
)
_THREADS = frozenset(
    {"OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "OMP_DYNAMIC"}
)  # which a run overrides with its track's own number; written down, and not held against it
_BUILD = ("Intel(R) oneAPI", "Intel(R) MKL", "OpenMP", "BLAS", "LAPACK", "CUDA Runtime", "CuDNN", "GCC", "clang")


def device_class(device: str) -> str:
    """The kind of device that results depend on: `cpu`, or the GPU's model."""
    return "cpu" if device == "cpu" else torch.cuda.get_device_name(0)


@cache
def hardware() -> dict[str, Any]:
    """What the machine is."""
    found = _processor()
    return {
        "processor": found.get("model name") or platform.processor() or platform.machine(),
        "model": "/".join(found.get(name, "?") for name in ("vendor_id", "cpu family", "model", "stepping")),
        "cores": os.cpu_count(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
    }


def environment() -> dict[str, str]:
    """Variables of the environment that are set and that change bits; threads, which a run sets itself, left out."""
    return {name: os.environ[name] for name in _VARIABLES if name in os.environ and name not in _THREADS}


def numerics() -> dict[str, Any]:
    """What else changes bits: variables of the environment that are set, torch's switches, and how it was built."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    return {
        "environment": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "mkldnn": torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled,
        "mkldnn_deterministic": getattr(torch.backends.mkldnn, "deterministic", None),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "cudnn_deterministic": cudnn.deterministic,
        "cudnn_benchmark": cudnn.benchmark,
        "cudnn_tf32": cudnn.allow_tf32,
        "matmul_tf32": matmul.allow_tf32,
        "default_dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "denormals_flushed": bool(torch.tensor([1e-310], dtype=torch.float64).mul(1.0).item() == 0.0),
        "build": _build(),
    }


def machine(manifest: dict[str, Any] | None = None) -> dict[str, Any]:
    """The part of a manifest, by default of this machine's, that must agree where bits must.

    Threads and the switch for deterministic algorithms are left out: a run sets its own.
    """
    here = {"hardware": hardware(), "numerics": numerics()} if manifest is None else manifest
    hard, numeric = (found if isinstance(found := here.get(name), dict) else {} for name in ("hardware", "numerics"))
    found = {name: hard[name] for name in BITS if name in hard}
    environment = numeric.get("environment")
    for name, value in (environment if isinstance(environment, dict) else {}).items():
        if name not in _THREADS:
            found[name] = value
    own = ("environment", "deterministic_algorithms")
    return found | {name: value for name, value in numeric.items() if name not in own}


@cache
def _build() -> list[str]:
    """The lines of torch's build that name the libraries that compute."""
    lines = [line.strip(" -\t") for line in torch.__config__.show().splitlines()]
    return [line[:120] for line in lines if line.startswith(_BUILD) or "MKL-DNN" in line or "oneDNN" in line]


def _processor() -> dict[str, str]:
    """The first processor of /proc/cpuinfo; empty where there is no such file."""
    found: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, colon, value = line.partition(":")
            if not colon:
                break
            found[name.strip()] = value.strip()
    except OSError:
        pass
    return found
