"""The exports of W&B's server in a folder, by their content."""

from __future__ import annotations

from collections.abc import Iterator

from mlv.importers.listing import SourceListing
from mlv.importers.reading import Unit
from mlv.importers.wandb.exports import charts, histories, run_files, run_lists


def units(listing: SourceListing) -> Iterator[Unit]:
    """Yield the runs in files of runs, charts, histories and lists."""
    for module in (run_files, charts, histories, run_lists):
        yield from module.units(listing)
