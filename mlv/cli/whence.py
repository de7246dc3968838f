"""`mlv whence`: where a file comes from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.text import Text

from mlv import words
from mlv.audit.provenance import PRODUCED, Origin, Parent, content_at, default_root, origins
from mlv.cli.blocks import Page
from mlv.cli.choose import no_address
from mlv.cli.screen import Screen, print_json, say, styled
from mlv.encoding import BadLine, parse_time
from mlv.events import Event


def run(path: Path, root: Path | None, as_json: bool) -> bool:
    """Print everything that names the content of a file; whether there is anything.

    Raises:
        FileUnusable: The file cannot be read.
        InvalidArgument: The root is no folder.
    """
    no_address(path, "FILE")
    content, where = content_at(path), default_root(path) if root is None else root
    found = origins(content.sha256, where)
    if as_json:
        named = [origin.to_data() for origin in found]
        print_json({
            "path": path, "sha256": content.sha256, "size": content.size, "root": where, "origins": named
        })  # fmt: skip
    elif found:
        screen = Screen()
        screen.show(Text.assemble((words.printable(str(path)), "bold"), f"  {words.size(content.size)}  {content.sha256}"))
        screen.show(table(found))
    else:
        said = f"no experiment at or below {str(where)!r} names {str(path)!r}, whose SHA-256 is {content.sha256}"
        say(f"{said}: give another ROOT")
    return bool(found)


def table(found: list[Origin]) -> Page:
    """Each origin after its role, and below those who produced the file the parents of their experiments."""
    styles = ("bold green" if origin.role == PRODUCED else "cyan" for origin in found)
    return Page([(styled(origin.role, style), list(_lines(origin))) for origin, style in zip(found, styles, strict=True)])


def _lines(origin: Origin) -> Iterator[Text]:
    yield Text.assemble((words.printable(str(origin.exp)), "bold"), (f"  {origin.exp_id[:8]}", "dim"))
    made = _event(origin.event) if origin.event is not None else f"meta.json, {origin.where}"
    named = words.printable(str(origin.reference.get("path")))
    yield Text.assemble(f"  {named}  {made}", (f"  {_moment(origin.time)}", "dim"))
    if origin.role == PRODUCED:
        yield from map(_from, origin.parents)


def _moment(time: str) -> str:
    try:
        return words.full_time(parse_time(time))
    except BadLine:  # what made the meta.json was not mlv
        return words.printable(time)


def _from(parent: Parent) -> Text:
    name = words.printable(str(parent.path)) if parent.path is not None else "an experiment that is not there"
    known = f"  {parent.id[:8]}" if parent.id else ""
    checkpoint = words.printable(str(parent.checkpoint.get("path") or ""))
    made = f"  {_event(parent.event)}" if parent.event is not None else ""
    return Text.assemble(("  from ", "dim"), name, (known, "dim"), f"  {checkpoint}{made}")


def _event(event: Event) -> str:
    """An event in words: what it was called, when in the script's count, and the name that it has for ever."""
    name = f" {words.compact(event.name)}" if event.name else ""
    at = "".join(f", {words.printable(key)} {words.compact(value)}" for key, value in event.at.items())
    step = f", step {words.compact(event.step)}" if event.step is not None else ""
    return f"{event.type}{name}{step}{at}, event {event.seq} of run {words.printable(event.run)}"
