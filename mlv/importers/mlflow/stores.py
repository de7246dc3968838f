"""The stores of MLflow that are read: files, and SQLite."""

from __future__ import annotations

from collections.abc import Iterator

from mlv.importers.listing import SourceListing
from mlv.importers.mlflow import database, file_store
from mlv.importers.reading import Unit


def units(listing: SourceListing) -> Iterator[Unit]:
    """Yield the runs of both."""
    yield from file_store.units(listing)
    yield from database.units(listing)
