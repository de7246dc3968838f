"""Documents: content that is a file's already when it is handed over, such as a rendered figure or a long text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlv.media.jobs import Prepared, Target
from mlv.protocols import Buffer


def prepared(type: str, files: Sequence[tuple[str, Buffer]], data: Mapping[str, Any], *, several: bool = False) -> Prepared:
    """An event of this type with the data, whose files (suffix and content of each) a worker stores as they are."""
    options = {"suffixes": [suffix for suffix, _ in files], "several": several, "data": data}
    return Prepared(type, "document", options, [content for _, content in files])


def encode(options: Mapping[str, Any], parts: Sequence[Buffer], target: Target) -> dict[str, Any]:
    """Store each part as a file: `file` in the data refers to the only one, or `files` to several."""
    suffixes = options["suffixes"]
    if not options.get("several"):
        return {"file": target.file(suffixes[0], parts[0]), **options["data"]}
    files = [target.file(suffix, part, str(n)) for n, (suffix, part) in enumerate(zip(suffixes, parts, strict=True))]
    return {"files": files, **options["data"]}
