"""`bench sync`: a store's records to W&B."""

import os

import typer

from bench.cli.options import DEFAULT_STORE, EntityOption, ProjectOption, StoreOption

__all__ = ["sync"]


def sync(store: StoreOption = DEFAULT_STORE, project: ProjectOption = None, entity: EntityOption = None) -> None:
    """Upload a store's records to W&B, each once; what failed is tried again next time."""
    from bench.tracking.mode import online_mode
    from bench.tracking.sync import sync_store

    synced = sync_store(store, online_mode(os.environ), project, entity)
    print(synced.words())
    raise typer.Exit(int(not synced.complete))
