"""The wish of a run to be shipped: where to, under which path, and how often."""

from __future__ import annotations

import os
from pathlib import Path

import orjson

from mlv import settings
from mlv.bucket.pushed_tree import path_below
from mlv.bucket.urls import normal_url
from mlv.errors import InvalidArgument
from mlv.frozen import FrozenRecord
from mlv.optional import package
from mlv.store import layout


class Wish(FrozenRecord):
    """The bucket that a run is shipped to."""

    url: str
    """Of the root; it holds nothing secret."""
    path: str
    """Of the experiment below the root."""
    every_s: float

    def to_bytes(self) -> bytes:
        """Return the content of its order."""
        return orjson.dumps(self.to_dict())

    @classmethod
    def from_bytes(cls, content: bytes) -> Wish:
        """Read it back.

        Raises:
            ValueError, TypeError: It is none.
        """
        return cls(**orjson.loads(content))


def checked_ship(ship: str | bool | None) -> str | None:
    """Return the URL that runs are shipped to, None for none: the argument, or else the setting.

    Raises:
        InvalidArgument: It is no URL of a bucket.
        MissingExtra: `obstore` is not installed.
    """
    url = settings.SHIP.get() if ship is None else ship
    if not url:
        return None
    if not isinstance(url, str):
        raise InvalidArgument(f"ship={url!r}: give the URL of a bucket, such as 's3://lab/runs', or False", ship=url)
    url = normal_url(url)
    package("obstore", "bucket")
    settings.SHIP_EVERY.get()
    return url


def wish_of(folder: Path, url: str) -> Wish:
    """Return the wish of a run of the experiment in a folder."""
    return Wish(url, path_in_bucket(folder), settings.SHIP_EVERY.get_or_default())


def path_in_bucket(folder: Path) -> str:
    """Return the path of an experiment below the root of a bucket, as `mlv push` of its tree has it.

    That tree is the folder of the setting `MLV_DIR`, or else the one that the outermost experiment around it was made in.
    """
    folder = Path(os.path.realpath(folder))
    tree = Path(os.path.realpath(settings.DIR.look_up().value))
    if tree in folder.parents:
        return path_below(tree, folder)
    around = [parent for parent in folder.parents if layout.is_experiment(parent)]
    return path_below((around[-1] if around else folder).parent, folder)
