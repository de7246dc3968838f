"""The state of one experiment of a mirror, beside it: what was taken in of which object, and what was passed over."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import orjson

from mlv.store import blobs, opening

_FORM = 1


@dataclass
class MirrorState:
    """The objects of one experiment that a mirror has taken in."""

    path: str
    """Below the root of the mirror."""
    form: int = _FORM
    listing: str = ""
    """Digest of the listing that was taken in last."""
    meta: list[Any] = field(default_factory=list)
    """Key, size and time of the object."""
    id: str = ""
    sizes: dict[str, int] = field(default_factory=dict)
    """Of each stream's file here."""
    positions: dict[str, int] = field(default_factory=dict)
    """Bytes that were taken in of each `STREAM/COPY`."""
    objects: dict[str, list[Any]] = field(default_factory=dict)
    """Size, time and SHA-256 of the content of each object with lines that was taken in."""
    refused: dict[str, list[Any]] = field(default_factory=dict)
    """Size and time of each object that was passed over, and why."""
    differences: list[str] = field(default_factory=list)
    """Between copies."""
    united: list[str] = field(default_factory=list)
    """Streams that hold lines of several copies."""
    files: dict[str, list[list[Any]]] = field(default_factory=dict)
    """Versions of each file in the bucket."""
    brought: dict[str, list[Any]] = field(default_factory=dict)
    """The version of each file that is here."""
    is_whole: bool = False
    losses: list[str] = field(default_factory=list)
    """Of copies that were whole once."""

    def notices(self, url: str) -> list[str]:
        """Return a sentence on each object below a URL that was passed over, each difference between copies, and each loss."""
        refused = [f"{url}/{key} is passed over: {why}" for key, (_, _, why) in self.refused.items()]
        return [*refused, *(f"{url}: {text}" for text in [*self.differences, *self.losses])]


def write_state(path: Path, state: MirrorState) -> None:
    """Write the state into a file.

    Raises:
        OSError: It cannot be written; the former one stands.
    """
    blobs.replace_whole(path, orjson.dumps(asdict(state)))


def read_state(path: Path) -> MirrorState | None:
    """Read the state in a file; None where there is none, or one of another form."""
    try:
        data = opening.json_content(path)
        state = MirrorState(**{name.name: data[name.name] for name in fields(MirrorState)})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return state if state.form == _FORM else None
