"""`mlv whence`: the experiments, runs and events that produced or used a file."""

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
    """Print every record that names the content of a file, and return whether there is one.

    Raises:
        FileUnusable: The file cannot be read.
        InvalidArgument: The root is no folder.
    """
    no_address(path, "FILE")
    content, where = content_at(path), default_root(path) if root is None else root
    matches = origins(content.sha256, where)
    if as_json:
        named = [origin.to_data() for origin in matches]
        print_json({
            "path": path, "sha256": content.sha256, "size": content.size, "root": where, "origins": named
        })  # fmt: skip
    elif matches:
        screen = Screen()
        screen.show(Text.assemble((words.printable(str(path)), "bold"), f"  {words.size(content.size)}  {content.sha256}"))
        screen.show(table(matches))
    else:
        text = f"no experiment at or below {str(where)!r} names {str(path)!r}, whose SHA-256 is {content.sha256}"
        say(f"{text}: give another ROOT")
    return bool(matches)


def table(matches: list[Origin]) -> Page:
    """Return each origin after its role, and below the producers the parents of their experiments."""
    styles = ("bold green" if origin.role == PRODUCED else "cyan" for origin in matches)
    return Page([(styled(origin.role, style), list(_lines(origin))) for origin, style in zip(matches, styles, strict=True)])


def _lines(origin: Origin) -> Iterator[Text]:
    yield Text.assemble((words.printable(str(origin.exp)), "bold"), (f"  {origin.exp_id[:8]}", "dim"))
    record = _event(origin.event) if origin.event is not None else f"meta.json, {origin.where}"
    named = words.printable(str(origin.reference.get("path")))
    yield Text.assemble(f"  {named}  {record}", (f"  {_moment(origin.time)}", "dim"))
    if origin.role == PRODUCED:
        yield from map(_parent_line, origin.parents)


def _moment(time: str) -> str:
    try:
        return words.full_time(parse_time(time))
    except BadLine:  # meta.json was not written by mlv
        return words.printable(time)


def _parent_line(parent: Parent) -> Text:
    name = words.printable(str(parent.path)) if parent.path is not None else "an experiment that is not there"
    identity = f"  {parent.id[:8]}" if parent.id else ""
    checkpoint = words.printable(str(parent.checkpoint.get("path") or ""))
    event = f"  {_event(parent.event)}" if parent.event is not None else ""
    return Text.assemble(("  from ", "dim"), name, (identity, "dim"), f"  {checkpoint}{event}")


def _event(event: Event) -> str:
    """Return an event as text: its type and name, its step and coordinates, then its number and run, which identify it."""
    name = f" {words.compact(event.name)}" if event.name else ""
    at = "".join(f", {words.printable(key)} {words.compact(value)}" for key, value in event.at.items())
    step = f", step {words.compact(event.step)}" if event.step is not None else ""
    return f"{event.type}{name}{step}{at}, event {event.seq} of run {words.printable(event.run)}"
