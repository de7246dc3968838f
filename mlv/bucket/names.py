"""The names of objects in a bucket; each names its content for good, so that nothing is ever appended to or replaced.

```
<path>/meta.json
<path>/<stream>.d/<copy>/<from>-<to>.jsonl.gz     whole lines: bytes from..to of this copy's file, as one gzip member or several
<path>/files/... models/...                        as on disk; published again with another content: <name>.v/<sha256>
<path>/.mlv/whole/<copy>-<bytes>.json              the seal and all files of this copy are up
.mlv/news/<day>/<exp id>-<copy>.json               {"path": ...}: one per day and copy that shipped anything
```

`<path>` leads from the root to the experiment's folder. `<stream>.d` is the stream's file with `.d` for `.jsonl`: `log.d`,
`val.log.d`. A copy is one folder that one file system holds: 16 random hexadecimal digits. A clone of the folder is another
copy.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from mlv.store import layout

COPY = r"[0-9a-f]{16}"
NEWS = f"{layout.HOUSEKEEPING}/news"
"""Folder of a root whose objects tell which experiments shipped anything on a day."""
SUFFIX = ".jsonl.gz"
_SEGMENT = re.compile(rf"(?P<stream>(?:.+\.)?log)\.d/(?P<copy>{COPY})/(?P<start>\d{{12,}})-(?P<end>\d{{12,}})\.jsonl\.gz")
_WHOLE = re.compile(rf"{re.escape(layout.HOUSEKEEPING)}/whole/(?P<copy>{COPY})-(?P<size>\d+)\.json")
_VERSION = re.compile(r"(?P<path>.+)\.v/(?P<sha256>[0-9a-f]{64})")
_NEWS = re.compile(rf"{re.escape(NEWS)}/(?P<day>\d{{4}}-\d\d-\d\d)/(?P<exp>[0-9a-f]{{64}})-(?P<copy>{COPY})\.json")


class Segment(NamedTuple):
    """Whole lines of a stream: the bytes `start` to `end` of the file in one copy of the experiment."""

    stream: str
    copy: str
    start: int
    end: int

    @property
    def key(self) -> str:
        """Its name below the experiment's own."""
        return f"{stream_folder(self.stream)}/{self.copy}/{self.start:012d}-{self.end:012d}{SUFFIX}"


class Whole(NamedTuple):
    """The mark that a copy has shipped its seal and all its files."""

    copy: str
    size: int
    """Bytes of all its streams."""

    @property
    def key(self) -> str:
        """Its name below the experiment's own."""
        return f"{layout.HOUSEKEEPING}/whole/{self.copy}-{self.size}.json"


class News(NamedTuple):
    """The mark that a copy of an experiment shipped something on a day."""

    day: str
    """As `2026-11-30`, in UTC."""
    exp: str
    copy: str

    @property
    def key(self) -> str:
        """Its name below the root."""
        return f"{NEWS}/{self.day}/{self.exp}-{self.copy}.json"


def stream_folder(stream: str) -> str:
    """Return the folder of a stream's segments: `log.d` for `log.jsonl`, `val.log.d` for `val.log.jsonl`."""
    return layout.stream_file(stream).removesuffix(".jsonl") + ".d"


def segment_of(key: str) -> Segment | None:
    """Return the segment that a key below an experiment names; None for any other key."""
    match = _SEGMENT.fullmatch(key)
    stream = layout.stream_of(f"{match['stream']}.jsonl") if match else None
    if match is None or not stream or "/" in stream:
        return None
    segment = Segment(stream, match["copy"], int(match["start"]), int(match["end"]))
    return segment if segment.start < segment.end and segment.key == key else None


def whole_of(key: str) -> Whole | None:
    """Return the mark of a whole copy that a key below an experiment names; None for any other key."""
    match = _WHOLE.fullmatch(key)
    return Whole(match["copy"], int(match["size"])) if match else None


def news_of(key: str) -> News | None:
    """Return the mark of news that a key below the root names; None for any other key."""
    match = _NEWS.fullmatch(key)
    return News(match["day"], match["exp"], match["copy"]) if match else None


def new_copy() -> str:
    """Return the name of a copy that there is not yet."""
    return os.urandom(8).hex()


def is_copy(text: str) -> bool:
    """Return whether a text can be the name of a copy."""
    return re.fullmatch(COPY, text) is not None


def version_key(file_key: str, sha256: str) -> str:
    """Return the key of a file that was published again: `<name>.v/<sha256>`."""
    return f"{file_key}.v/{sha256}"


def version_of(key: str) -> tuple[str, str]:
    """Return the path of the file that a key holds, and its SHA-256 where that file was published again, else an empty text."""
    match = _VERSION.fullmatch(key)
    return (match["path"], match["sha256"]) if match else (key, "")


def join(*parts: str) -> str:
    """Join the parts of a key; an empty one, such as the path of an experiment that is the root itself, is left out."""
    return "/".join(part for part in parts if part)
