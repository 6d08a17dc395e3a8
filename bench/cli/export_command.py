"""`bench export`: what is typed, handed to `bench.own.export`."""

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import DEFAULT_STORE, StoreOption
from bench.errors import unknown_name

__all__ = ["export"]


def export(
    name: Annotated[str, typer.Argument(metavar="RUN", help="Run id, its beginning, or the path of a run or network.")],
    to: Annotated[str, typer.Option(help="onnx or safetensors.")] = "onnx",
    out: Annotated[Path | None, typer.Option(help="File to write.  [default: RUN.onnx or RUN.safetensors]")] = None,
    normalisation: Annotated[
        str,
        typer.Option(
            help="Of onnx: graph (the input is pixels, 0 to 255) or metadata (the input is normalised already, by the "
            "mean and std in the file's metadata)."
        ),
    ] = "graph",
    timed: Annotated[
        bool,
        typer.Option("--latency/--no-latency", help="Of onnx: measure dense and pruned in PyTorch and onnxruntime."),
    ] = True,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write a run's pruned network as ONNX, checked by onnxruntime against PyTorch, or as safetensors."""
    if to not in ("onnx", "safetensors"):
        raise unknown_name("format", to, ["onnx", "safetensors"])
    if normalisation not in ("graph", "metadata"):
        raise unknown_name("normalisation", normalisation, ["graph", "metadata"])
    from bench.own.export.load import stored

    found = stored(name, store)
    path = out or Path(f"{found.record.run_id if found.record else found.path.stem}.{to}")
    if to == "safetensors":
        from bench.own.export.safetensors_file import export_safetensors

        print("\n".join(export_safetensors(found, path)))
        return
    from bench.own.export.onnx_file import export_onnx

    threads = int(found.record.track_fields.get("threads", 1)) if found.record else 1
    print("\n".join(export_onnx(found, path, normalisation, timed, threads).lines()))  # type: ignore[arg-type]
