"""Files of YAML: settings, read without making any object that they name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlv.errors import MissingExtra
from mlv.importers.reading import Reading
from mlv.optional import package


def mapping_of(path: Path, reading: Reading) -> dict[str, Any]:
    """Return the mapping in a file; empty where it is gone or none, which is recorded."""
    try:
        text = path.read_text(encoding="utf-8", errors="backslashreplace")
    except FileNotFoundError:
        return {}
    try:
        content = loaded(text)
    except MissingExtra:
        reading.leave(f"{path.name}: it needs PyYAML: pip install PyYAML")
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
    return yaml.load(text, Loader)  # it makes plain values only
