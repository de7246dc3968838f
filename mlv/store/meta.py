"""meta.json: what an experiment is, written once; its bytes are the experiment's identity."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from mlv.digests import sha256
from mlv.encoding import loads, restored
from mlv.errors import MetaEdited, NotAnExperiment
from mlv.frozen import FrozenDict, FrozenRecord, frozen
from mlv.store import layout, opening
from mlv.store.files import publish
from mlv.store.identities import known_ids
from mlv.store.reading import Lines

FORMAT = 1
"""The latest format that is read: a newer one may mean something else by a field of that name."""


class Meta(FrozenRecord):
    """A meta.json and its identity."""

    id: str
    """SHA-256 of the bytes of meta.json."""
    content: FrozenDict
    """What it says, read-only all the way down."""


def write_meta(folder: Path, content: Mapping[str, Any]) -> Meta:
    """Publish meta.json whole, and read-only.

    Raises:
        FileExistsError: There is one already.
        OSError: It cannot be written.
    """
    text = meta_text(content)
    publish(folder / layout.META, text, mode=0o444)
    return meta_of(text)


def meta_of(text: bytes) -> Meta:
    """Parse the bytes of a meta.json.

    Raises:
        ValueError: They are none.
    """
    return Meta(sha256(text).hexdigest(), _read(text))


def meta_text(content: Mapping[str, Any]) -> bytes:
    """Return the bytes of a meta.json."""
    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    try:
        return orjson.dumps(content, option=option)
    except TypeError:  # what a process is given, such as argv and variables, need not be UTF-8
        return orjson.dumps(_utf8(content), option=option)


def _utf8(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_utf8(key): _utf8(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_utf8(item) for item in value]
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def read_meta(folder: Path) -> Meta:
    """Read an experiment's meta.json.

    Raises:
        NotAnExperiment: There is none, or it is no meta.json of a format that this version reads.
    """
    path = folder / layout.META
    try:
        text = opening.content(path)
    except OSError as error:
        raise NotAnExperiment(
            f"{folder} holds no experiment: {layout.META} cannot be read ({error.strerror}). Give the folder that Exp printed",
            path=str(folder),
        ) from None
    try:
        content = _read(text)
    except (ValueError, RecursionError) as error:
        raise NotAnExperiment(f"{path} is not a meta.json: {error}. Restore it from a copy", path=str(path)) from None
    return Meta(sha256(text).hexdigest(), content)


def _read(text: bytes) -> FrozenDict:
    content = loads(text)
    if not isinstance(content, dict) or not isinstance(content.get("params"), dict):
        raise ValueError("it is no JSON object with params")
    if not isinstance(content.get("format"), int) or content["format"] > FORMAT:
        raise ValueError(f"its format is {content.get('format')!r}, and this version of mlv reads up to {FORMAT}")
    nonfinite = content.get("nonfinite")
    whole = {key: value for key, value in content.items() if key != "params"}
    whole["params"] = restored(content["params"], nonfinite if isinstance(nonfinite, dict) else {}, pointer="/params")
    result: FrozenDict = frozen(whole)
    return result


def recorded_id(folder: Path) -> str | None:
    """Return the ID that the first run wrote into the log, None if there is no run yet."""
    lines = Lines(folder, layout.streams_in(folder), ("run_started",))
    return next((event.data["exp"] for event in lines if isinstance(event.data, dict) and event.data.get("exp")), None)


def check_identity(folder: Path, meta: Meta) -> MetaEdited | None:
    """Return an error where meta.json is not the one that the runs recorded, else None."""
    recorded = recorded_id(folder)
    if recorded in (None, meta.id) or recorded in known_ids(folder):
        return None
    return MetaEdited(
        f"{folder / layout.META} was edited: its ID is {meta.id}, its runs recorded {recorded}. Restore the file to write into "
        f"the experiment; reading goes on",
        path=str(folder),
        actual=meta.id,
        recorded=recorded,
    )
