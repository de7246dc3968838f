"""Tables, joins and media in artifacts: each is a file of JSON, `<name>.<type>.json`; its other files lie below `media/`.

The files of JSON have the fields that wandb gives them, as far as they are read here. In place of types of columns, `links`
says where a column leads to, `primary_key` which one names the rows, `times` and `arrays` which hold moments and arrays.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Collection, Mapping
from datetime import date, datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mlv.compat.wandb.artifact_entries import Entry, checked_name
from mlv.compat.wandb.image import Classes, Image
from mlv.compat.wandb.media import Audio, Histogram, Html, Media, Molecule, Object3D, Video
from mlv.compat.wandb.table import JoinedTable, PartitionedTable, Table
from mlv.compat.wandb.terminal import termwarn
from mlv.compat.wandb.values import as_array, is_array, plain_or_text

if TYPE_CHECKING:
    from mlv.compat.wandb.artifact_draft import Draft

_FILES: dict[type, str] = {
    Image: "image-file",
    Html: "html-file",
    Audio: "audio-file",
    Video: "video-file",
    Object3D: "object3D-file",
    Molecule: "molecule-file",
}
"""Media that are a file, and the types that wandb gives them."""
_WORDS: dict[type, str] = {
    **_FILES,
    Table: "table",
    JoinedTable: "joined-table",
    PartitionedTable: "partitioned-table",
    Classes: "classes",
}
"""Objects that a script may add, and the endings of their files before `.json`."""
_FOLDERS = {"image-file": "images", "object3D-file": "object3D"}
"""Folders below `media/` that are not named as the type."""
_IN_CELLS = (*_FILES.values(), "histogram")
_OBJECT = re.compile(rf"(.+)\.({'|'.join(_WORDS.values())})\.json")


class Version(Protocol):
    """As much of a logged artifact as objects are read from."""

    def get_entry(self, name: Any) -> Entry:
        """Return a file."""


def add(draft: Draft, obj: Any, name: str, overwrite: bool) -> Entry:
    """Add an object to an artifact.

    Raises:
        TypeError: It is of no type that artifacts take.
    """
    word = next((word for cls, word in _WORDS.items() if type(obj) is cls), None)
    if word is None:
        raise TypeError(f"a {type(obj).__name__} cannot be added to an artifact: save it, and add_file(path)")
    file_name = name if name.endswith(f".{word}.json") else f"{name}.{word}.json"
    if file_name in draft.names and not overwrite:
        termwarn(f"{file_name!r} is in the artifact already, and stays as it is: give another name, or overwrite=True")
        return draft.added(file_name)
    if isinstance(obj, Table):  # before the tables that it leads to, which may lead back
        draft.paths_of_tables[obj] = checked_name(file_name)
    content = {"_type": word, "class_set": obj.class_set} if isinstance(obj, Classes) else _media_content(draft, obj)
    return draft.add_content(file_name, json.dumps(plain_or_text(content)).encode(), overwrite)


def get(version: Version, name: str, names: Collection[str]) -> Any:
    """Return the object of a name, with or without the ending of its file; None if there is none."""
    return _Reader(version, names).object(name)


def _media_content(draft: Draft, obj: Media) -> dict[str, Any]:
    """Return the JSON of media; their files are added to the artifact.

    Raises:
        TypeError: Of media that artifacts do not take, or of frames, which no file holds yet.
    """
    if isinstance(obj, Table):
        return _table_content(draft, obj)
    if isinstance(obj, JoinedTable):
        paths = [_table_path(draft, table, number) for number, table in enumerate(obj.tables, 1)]
        return {"_type": "joined-table", "table1": paths[0], "table2": paths[1], "join_key": obj.join_key}
    if isinstance(obj, PartitionedTable):
        return {"_type": "partitioned-table", "parts_path": obj.parts_path}
    if isinstance(obj, Histogram):
        return {"_type": "histogram", "values": obj.histogram, "bins": obj.bins}
    word = _FILES.get(type(obj))
    if word is None:
        raise TypeError(f"a {type(obj).__name__} cannot be added to an artifact: save it, and add_file(path)")
    content, suffix = obj.file()  # type: ignore[attr-defined]
    digest = hashlib.sha256(content).hexdigest()
    path = f"media/{_FOLDERS.get(word, word.removesuffix('-file'))}/{digest[:20]}{suffix}"
    draft.add_content(path, content, overwrite=True)
    facts = {"_type": word, "path": path, "sha256": digest, "size": len(content)}
    if obj.caption is not None:
        facts["caption"] = obj.caption
    if isinstance(obj, Image):
        facts |= {"boxes": obj.boxes, "masks": {name: _mask_content(draft, mask) for name, mask in obj.masks.items()}}
    return facts


def _mask_content(draft: Draft, mask: Mapping[str, Any]) -> dict[str, Any]:
    import numpy

    file = io.BytesIO()
    numpy.save(file, mask["mask"], allow_pickle=False)
    path = f"media/masks/{hashlib.sha256(file.getvalue()).hexdigest()[:20]}.npy"
    draft.add_content(path, file.getvalue(), overwrite=True)
    return {**mask, "mask": path}


def _table_path(draft: Draft, table: Any, number: int) -> str:
    """Return the path of a table in the artifact, which it is added to if it is not there.

    Raises:
        ValueError: It is a path, and there is no table.
    """
    if isinstance(table, (Table, PartitionedTable)):
        name = getattr(table, "name_in_artifact", None) or f"t{number}_{len(draft.paths_of_tables)}"
        return draft.paths_of_tables.get(table) or add(draft, table, name, overwrite=True).path
    if isinstance(table, Entry):
        return draft.add_reference(table, f"{table.digest[:20]}.table.json")[0].path
    if table not in draft.names:
        raise ValueError(
            f"JoinedTable table:{table} not found in artifact. Add a table to the artifact using "
            f"Artifact#add(<table>, {table}) before adding this JoinedTable"
        )
    return str(table)


def _table_content(draft: Draft, table: Table) -> dict[str, Any]:
    links: dict[str, dict[str, Any]] = {}
    for column, link in table.links.items():
        path = draft.paths_of_tables.get(link.table)
        if path is None:
            # Numbered, so that an equal artifact has equal files.
            path = add(draft, link.table, f"media/tables/t_{len(draft.paths_of_tables)}", overwrite=False).path
        links[str(column)] = {"table": path, **({} if link.column is None else {"column": link.column})}
    rows = [[_cell(draft, cell) for cell in row] for row in table.data]
    return {
        "_type": "table",
        "columns": table.columns,
        "data": rows,
        "ncols": len(table.columns),
        "nrows": len(rows),
        "log_mode": table.log_mode,
        "primary_key": table.primary_key,
        "links": links,
        "times": [column for column in table.columns if _all(table, column, datetime)],
        "arrays": [column for column in table.columns if _holds_arrays(table, column)],
    }


def _cell(draft: Draft, cell: Any) -> Any:
    if isinstance(cell, (Table, JoinedTable, PartitionedTable)):
        raise TypeError("a table cannot be the cell of a table in an artifact: give a column of table.get_index()")
    if isinstance(cell, Media):
        return _media_content(draft, cell)
    if isinstance(cell, datetime):
        return (cell if cell.tzinfo is not None else cell.replace(tzinfo=timezone.utc)).timestamp() * 1000
    if isinstance(cell, date):
        return cell.isoformat()
    return cell


def _all(table: Table, column: Any, kind: type) -> bool:
    values = [value for value in table.get_column(column) if value is not None]
    return bool(values) and all(isinstance(value, kind) for value in values)


def _holds_arrays(table: Table, column: Any) -> bool:
    """Return whether a column holds arrays of more than one axis: those of one axis are lists, as in wandb."""
    values = table.get_column(column)
    return bool(values) and all(is_array(value) and as_array(value).ndim > 1 for value in values)


class _Reader:
    """Reads an object, and the tables that it leads to: each of them once, so that they may lead back."""

    def __init__(self, version: Version, names: Collection[str]) -> None:
        self._version, self._names = version, names
        self._tables: dict[str, Table] = {}

    def object(self, name: str) -> Any:
        """Return the object of a name; None if there is none."""
        for path in self._names:
            match = _OBJECT.fullmatch(path)
            if match is not None and name in (path, match[1]):
                return self._tables[path] if path in self._tables else self._object(path, match[2])
        return None

    def _object(self, path: str, word: str) -> Any:
        content = json.loads(self._file(path).read_bytes())
        if word == "table":
            return self._table(content, path)
        if word == "joined-table":
            first, second = (self.object(content[key]) or content[key] for key in ("table1", "table2"))
            return JoinedTable(first, second, content["join_key"])
        if word == "partitioned-table":
            return self._partitioned(content["parts_path"])
        return Classes(content["class_set"]) if word == "classes" else self._media(content)

    def _table(self, content: Mapping[str, Any], path: str) -> Table:
        columns = content["columns"]
        times, arrays = ({columns.index(column) for column in content.get(field, ())} for field in ("times", "arrays"))
        rows = [[self._cell(cell, n in times, n in arrays) for n, cell in enumerate(row)] for row in content["data"]]
        table = self._tables[path] = Table(columns=columns, data=rows, log_mode=content.get("log_mode", "IMMUTABLE"))
        table.name_in_artifact = path
        if content.get("primary_key") is not None:
            table.set_pk(content["primary_key"])
        for column, link in content.get("links", {}).items():
            table.link(next(name for name in columns if str(name) == column), self.object(link["table"]), link.get("column"))
        return table

    def _partitioned(self, folder: str) -> PartitionedTable:
        table = PartitionedTable(folder)
        paths = sorted(
            path for path in self._names if path.startswith(f"{folder.rstrip('/')}/") and path.endswith(".table.json")
        )
        table.parts = [partial(self.object, path) for path in paths]
        return table

    def _cell(self, cell: Any, is_time: bool, is_array: bool) -> Any:
        if isinstance(cell, dict) and cell.get("_type") in _IN_CELLS:
            return self._media(cell)
        if is_time and cell is not None:
            return datetime.fromtimestamp(cell / 1000, tz=timezone.utc)
        if is_array:
            import numpy

            return numpy.array(cell)
        return cell

    def _media(self, content: Mapping[str, Any]) -> Media:
        kind, caption = content["_type"], content.get("caption")
        if kind == "histogram":
            return Histogram(np_histogram=(content["values"], content["bins"]))
        path = self._file(content["path"])
        if kind == "html-file":
            return Html(path)
        if kind == "image-file":
            image = Image(path, caption=caption)
            image.draw(
                content.get("boxes") or [], {name: self._mask(mask) for name, mask in (content.get("masks") or {}).items()}
            )
            return image
        cls: Any = next(cls for cls, word in _FILES.items() if word == kind)
        return cls(path, caption=caption)  # type: ignore[no-any-return]

    def _mask(self, mask: Mapping[str, Any]) -> dict[str, Any]:
        import numpy

        return {**mask, "mask": numpy.load(self._file(mask["mask"]), allow_pickle=False)}

    def _file(self, path: str) -> Path:
        return self._version.get_entry(path).path_here()
