"""Documents: content that is handed over as that of a file, such as a rendered figure or a long text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlv.media.jobs import Prepared, Target
from mlv.protocols import Buffer


def prepared(type: str, files: Sequence[tuple[str, Buffer]], data: Mapping[str, Any], *, several: bool = False) -> Prepared:
    """Prepare an event of this type with the data, whose files (suffix and content of each) a worker stores as they are."""
    options = {"suffixes": [suffix for suffix, _ in files], "several": several, "data": data}
    return Prepared(type, "document", options, [content for _, content in files])


def encode(options: Mapping[str, Any], buffers: Sequence[Buffer], target: Target) -> dict[str, Any]:
    """Store each buffer as a file: `file` in the data refers to the only one, or `files` to several."""
    suffixes = options["suffixes"]
    if not options.get("several"):
        return {"file": target.file(suffixes[0], buffers[0]), **options["data"]}
    files = [target.file(suffix, buffer, str(n)) for n, (suffix, buffer) in enumerate(zip(suffixes, buffers, strict=True))]
    return {"files": files, **options["data"]}
