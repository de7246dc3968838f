"""Artifacts that a run of W&B logged: their lists, and the files that are on this machine."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path
from typing import Any

from mlv.experiment.importing.source import SourceFile
from mlv.importers import protobuf
from mlv.importers.protobuf import text_of
from mlv.importers.reading import SourceReading
from mlv.importers.wandb import records as r
from mlv.optional import is_installed, package
from mlv.store.contents import CHUNK_BYTES, opened


class LoggedArtifacts:
    """The artifacts of a run, whose versions are counted by their names."""

    def __init__(self, reading: SourceReading) -> None:
        self._reading = reading
        self._versions: dict[str, int] = {}

    def events(self, values: dict[int, list[Any]]) -> Iterator[tuple[str, Any, str]]:
        """Yield type, data and name of the events of a record: the files that are on this machine, and a list of all."""
        name, kind = text_of(values, 5), text_of(values, 4)
        version = self._versions[name] = self._versions.get(name, -1) + 1
        entries = []
        manifest = protobuf.grouped(values.get(12, [b""])[-1])
        if 5 in manifest:
            self._reading.leave("lists of the files of an artifact, too long for its record")
        for content in manifest.get(4, []):
            entry = protobuf.grouped(content)
            path, digest, local = text_of(entry, 1), text_of(entry, 2), text_of(entry, 6)
            facts = {"path": path, "digest": digest, "size": entry.get(4, [0])[-1], "ref": text_of(entry, 3)}
            entries.append({key: value for key, value in facts.items() if value})
            if kind == "run_table" or not local:  # such a table is a medium of history, too; others are references
                continue
            if not Path(local).is_file():
                self._reading.leave("files of artifacts that are not on this machine")
            elif not _has_digest(Path(local), digest):
                self._reading.leave("files of artifacts that are others now than those that were logged")
            else:
                file = SourceFile(Path(local), Path(local).suffix, is_linked=True)
                yield "file", file, f"artifacts/{name}/v{version}/{path}"
        facts = {
            "name": name,
            "type": kind,
            "version": f"v{version}",
            "digest": text_of(values, 6),
            "aliases": sorted(protobuf.text(alias) for alias in values.get(11, [])),
            "description": text_of(values, 7),
            "metadata": r.value_of(values[8][-1]) if values.get(8) else {},
            "files": entries,
        }
        yield "event", facts, "artifact"


def _has_digest(path: Path, digest: str) -> bool:
    """Return whether a file is the one that W&B logged: it may have changed since, and a record names any path."""
    hashes = [md5(usedforsecurity=False)]
    if is_installed("xxhash"):  # which W&B needs for artifacts that asked for this digest
        hashes.append(package("xxhash", None).xxh128())
    try:
        with opened(path) as file:
            while chunk := file.read(CHUNK_BYTES):
                for each in hashes:
                    each.update(chunk)
    except OSError:
        return False
    return digest in [b64encode(each.digest()).decode() for each in hashes]
