"""`bench leaderboard`: the pages."""

from pathlib import Path
from typing import Annotated

import typer

from bench.cli.options import DEFAULT_STORE, StoreOnlyOption, StoreOption, TracksShown, names_in

__all__ = ["leaderboard"]


def leaderboard(
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("page"),
    store: StoreOption = DEFAULT_STORE,
    track: TracksShown = None,
    store_only: StoreOnlyOption = False,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Draw every track's table and plot, from the store and the committed results, as a folder that opens from disk."""
    from bench.cli.shown_records import draw_leaderboard

    page, said = draw_leaderboard(store, out, names_in(track), store_only)
    print(said)
    if open_:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())
