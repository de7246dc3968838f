"""Files of YAML: settings, read without making any object that they name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlv.errors import MissingExtra
from mlv.importers.reading import SourceReading
from mlv.optional import package

_MOST_VALUES = 1_000_000


class _TooLarge(ValueError):
    """A text of YAML stands for more than memory has room for."""


def mapping_of(path: Path, reading: SourceReading) -> dict[str, Any]:
    """Return the mapping in a file; empty where it is gone or none, which is recorded."""
    if not path.exists():
        return {}
    if not reading.takes_file(path, path.parent):  # nothing may ever come of a pipe, and no end of a device
        reading.leave(f"{path.name}: it is no file, or lies elsewhere")
        return {}
    text = path.read_text(encoding="utf-8", errors="backslashreplace")
    try:
        content = loaded(text)
    except MissingExtra:
        reading.leave(f"{path.name}: it needs PyYAML: pip install PyYAML")
        return {}
    except _TooLarge as error:
        reading.leave(f"{path.name}: {error}")
        return {}
    except Exception:  # yaml.YAMLError, and what its constructors raise
        reading.leave(f"{path.name}: it is no YAML")
        return {}
    if content is not None and not isinstance(content, Mapping):
        reading.leave(f"{path.name}: it holds no settings by name")
    return {str(key): value for key, value in content.items()} if isinstance(content, Mapping) else {}


def loaded(text: str) -> Any:
    """Return the value of a text; of a tag that stands for an object of Python, the plain value below it, or its name.

    Raises:
        MissingExtra: PyYAML is not installed.
        yaml.YAMLError: It is no YAML.
        _TooLarge: Its aliases stand for more values than memory has room for.
    """
    yaml = package("yaml", None)

    class Loader(yaml.SafeLoader):  # type: ignore[misc, name-defined]
        """Keeps what other loaders would make objects of."""

    def plain(loader: Any, suffix: str, node: Any) -> Any:
        if isinstance(node, yaml.MappingNode):
            return loader.construct_mapping(node, deep=True)
        if isinstance(node, yaml.SequenceNode):
            return loader.construct_sequence(node, deep=True)
        return loader.construct_scalar(node) or suffix.rpartition(":")[2]

    Loader.add_multi_constructor("tag:yaml.org,2002:python/", plain)
    Loader.add_multi_constructor("!", plain)
    value = yaml.load(text, Loader)  # it makes plain values only
    if _size(value, {}) > _MOST_VALUES:
        raise _TooLarge("its aliases stand for more than a million values")
    return value


def _size(value: Any, sizes: dict[int, int]) -> int:
    """Return how many values one stands for: an alias stands for all that it names, again, and ten of them for a billion."""
    if not isinstance(value, (dict, list, tuple, set)):
        return 1
    if id(value) not in sizes:
        sizes[id(value)] = 1  # also where it contains itself
        inner = value.values() if isinstance(value, dict) else value
        sizes[id(value)] = 1 + sum(_size(item, sizes) for item in inner)
    return sizes[id(value)]
