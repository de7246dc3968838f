"""`mlv show`: everything about one experiment on one page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import Any

from rich.text import Text

from mlv import retention, words
from mlv.cli import urls
from mlv.cli.blocks import Page, Rows
from mlv.cli.overview import Overview, look_at, rows_below, run_duration_s
from mlv.cli.row import Row, tree
from mlv.cli.screen import MOST_ROWS, Screen, print_json, styled
from mlv.errors import NotAnExperiment
from mlv.events import Event
from mlv.experiment.opening import params as params_
from mlv.query.events import Events
from mlv.query.many.table import flat
from mlv.query.runs import RunView
from mlv.retention import PortfolioState
from mlv.store import layout
from mlv.store.streams import read_lines

_METRICS_SHOWN = 40
_CHECKPOINTS_SHOWN = 12
_FILES_SHOWN = 12
_DAMAGE_SHOWN = 5


def run(folder: Path, as_json: bool) -> None:
    """Print the page, or one JSON object.

    Raises:
        NotAnExperiment: There is no readable meta.json.
    """
    overview = look_at(folder, datetime.now(timezone.utc), within_bytes=None)
    if not overview.view.meta:
        raise NotAnExperiment(overview.error or f"{folder} holds no experiment", path=str(folder))
    subs = [row for row in rows_below(folder) if row.path != str(folder)]
    if as_json:
        print_json(to_data(overview, subs))
    else:
        screen = Screen()
        screen.show(title(overview))
        screen.show(page(overview, subs, screen.speaks_unicode))


def page(overview: Overview, subs: list[Row], unicode: bool = True) -> Page:
    """Return the page for a reader."""
    return Page([
        (styled(heading, "bold"), body)
        for heading, lines in _sections(overview, subs, unicode)
        if (body := _readable(lines))
    ])  # fmt: skip


def title(overview: Overview) -> Text:
    """Return name and status, and the error of an unreadable experiment."""
    status = styled(overview.status, words.STATUS_STYLES.get(overview.status, ""))
    error = styled(words.printable(f"\n{overview.error}", keep="\n"), "bold red") if overview.error else ""
    return Text.assemble((words.printable(overview.view.name), "bold"), "  ", status, error)


def _sections(overview: Overview, subs: list[Row], unicode: bool) -> Iterator[tuple[str, Iterable[Any]]]:
    view = overview.view
    yield "path", [_plain(urls.mirrored_url(view.path) or view.path)]
    yield "made as", [_plain(view.made_as)] if view.made_as else []
    yield "id", [_plain(view.id)]
    yield "params_id", [_plain(params_id(overview))]
    yield "kind", [_plain(view.kind)] if view.kind else []
    yield "created", [_plain(words.full_time(view.created_at))]
    yield "archived", [_plain("mlv ls leaves it out")] if view.is_archived else []
    yield "tags", [_plain(", ".join(view.tags))] if view.tags else []
    yield "notes", map(_plain, view.notes)
    yield "params", [_pairs(dict(flat(view.params)))] if view.params else []
    yield "parent", _parent(overview)
    yield "script", _script(view.meta.get("script"))
    yield "git", _git(view.meta.get("git"))
    yield "machine", _machine(view.meta.get("machine"))
    yield "runs", _runs(overview.runs, overview.now)
    yield "total", [_plain(words.duration(view.total_s(overview.now)))] if len(overview.runs) > 1 else []
    yield "streams", [_streams(view.path)]
    yield "damaged", _damage(overview)
    yield "metrics", _metrics(overview)
    yield "checkpoints", _checkpoints(overview)
    yield "files", _files(view.path)
    yield "below", _below(overview, subs, unicode)


def _readable(lines: Iterable[Any]) -> list[Any]:
    try:
        return list(lines)
    except (AttributeError, KeyError, TypeError, ValueError):  # of another version, perhaps
        return [styled("recorded in a form that this version does not know: mlv show --json", "yellow")]


def _plain(text: object) -> Text:
    return styled(words.printable(str(text), keep="\n"))


def _columns(rows: Iterable[tuple[Any, ...]]) -> Rows:
    """Return rows in columns, without the empty columns."""
    remaining = iter(rows)
    cells = [[cell if isinstance(cell, Text) else _plain(cell) for cell in row] for row in islice(remaining, MOST_ROWS)]
    is_used = [any(cell.plain for cell in column) for column in zip(*cells, strict=True)]
    filled = [[cell for cell, is_filled in zip(row, is_used, strict=True) if is_filled] for row in cells]
    if more := sum(1 for _ in remaining):
        filled.append([_plain(f"{more} more; --json gives all"), *[Text()] * (sum(is_used) - 1)])
    return Rows(filled)


def _pairs(values: Mapping[str, Any]) -> Rows:
    return _columns((styled(words.printable(key), "dim"), words.compact(value)) for key, value in values.items())


def params_id(overview: Overview) -> str:
    """Return the SHA-256 of the canonical JSON of the params in meta.json."""
    plain, nonfinite = params_.plain_params(overview.view.meta["params"])
    return params_.params_id(plain, nonfinite)


def _parent(overview: Overview) -> Iterator[Text]:
    parent = overview.view.captured("parent")
    if parent.get("id"):
        yield _plain(f"{parent.get('path')}  {str(parent['id'])[:8]}")
    checkpoint = parent.get("checkpoint") or {}
    if checkpoint.get("path"):
        yield _plain(f"checkpoint {checkpoint['path']}  {words.size(checkpoint.get('size') or 0)}")


def _script(script: Any) -> Iterator[Text]:
    if not isinstance(script, Mapping):
        return
    if "error" in script:
        yield styled(words.printable(str(script["error"])), "yellow")
    if script.get("argv"):
        yield _plain(" ".join(map(str, script["argv"])))
    version = (script.get("python") or {}).get("version")
    if version:
        yield _plain(f"Python {version}, in {script.get('cwd')}")


def _git(git: Any) -> Iterator[Text]:
    if not isinstance(git, Mapping):
        return
    if git.get("repository") is False:
        yield styled("not in a repository", "dim")
    if "error" in git:
        yield styled(words.printable(str(git["error"])), "yellow")
    if git.get("commit"):
        branch = f" on {git['branch']}" if git.get("branch") else ", no branch"
        message = str(git.get("message") or "").partition("\n")[0]
        yield _plain(f"{git['commit'][:10]}{branch}  {message}")
    if git.get("dirty"):
        yield Text.assemble(("uncommitted changes", "yellow"), _plain(_diff(git.get("diff") or {})))


def _diff(diff: Mapping[str, Any]) -> str:
    reference = diff.get("file") or {}
    if not reference.get("path"):
        return ""
    return f" in {reference['path']}  {words.size(reference.get('size') or 0)}{', cut' if diff.get('truncated') else ''}"


def _machine(machine: Any) -> Iterator[Text]:
    if not isinstance(machine, Mapping):
        return
    if "error" in machine:
        yield styled(words.printable(str(machine["error"])), "yellow")
    cores = (machine.get("cores") or {}).get("usable")
    memory = machine.get("memory_bytes")
    facts = [
        machine.get("host"), machine.get("os"), machine.get("cpu"), words.counted(cores, "core") if cores else None,
        words.size(memory) if memory else None,
    ]  # fmt: skip
    if any(facts):
        yield _plain(", ".join(str(fact) for fact in facts if fact))
    for gpu in machine.get("gpus") or ():
        yield _plain(f"{gpu.get('name')}  {words.size(gpu.get('memory_bytes') or 0)}")


def _runs(runs: Iterable[RunView], now: datetime) -> Iterator[Any]:
    every = list(_with_children(runs))
    if every:
        yield _columns(_run_row(run, depth, now) for run, depth in every)
    for run, _ in every:
        if run.exception:
            yield from exception_lines(run.exception, f"{run.id}: ")


def _with_children(runs: Iterable[RunView], depth: int = 0) -> Iterator[tuple[RunView, int]]:
    for run in runs:
        yield run, depth
        yield from _with_children(run.children, depth + 1)


def _run_row(run: RunView, depth: int, now: datetime) -> tuple[Any, ...]:
    status = styled("paused" if run.paused and run.status == "running" else run.status, words.STATUS_STYLES.get(run.status, ""))
    process = f"pid {run.process.get('pid')}" if run.process else ""
    differing = words.pairs(run.params) if run.params else ""
    started = words.full_time(run.started)
    copied = "copied while it went on" if run.is_copied else ""
    return "  " * depth + run.id, status, started, words.duration(run_duration_s(run, now)), process, copied, differing


def exception_lines(exception: Mapping[str, Any], prefix: str = "") -> Iterator[Text]:
    """Yield the exception that ended a run: its type and message, then the traceback."""
    yield styled(words.printable(f"{prefix}{exception.get('type')}: {exception.get('message')}"), "bold red")
    for line in str(exception.get("traceback") or "").rstrip().splitlines():
        yield styled("  " + words.printable(line), "dim")


def streams(folder: Path) -> dict[str, dict[str, Any]]:
    """Return file, number of lines and number of bytes of each stream."""
    result = {}
    for stream in layout.streams_in(folder):
        lines = size = 0
        for start, line in read_lines(folder / layout.stream_file(stream)):
            lines += line.endswith(b"\n")
            size = start + len(line)
        result[stream] = {"file": layout.stream_file(stream), "lines": lines, "bytes": size}
    return result


def _streams(folder: Path) -> Rows:
    return _columns(
        (entry["file"], words.counted(entry["lines"], "line"), words.size(entry["bytes"])) for entry in streams(folder).values()
    )


def _damage(overview: Overview) -> Iterator[Text]:
    """Yield the damaged lines that were skipped."""
    for hole in overview.damage[:_DAMAGE_SHOWN]:
        yield styled(words.printable(str(hole)), "yellow")
    if len(overview.damage) > _DAMAGE_SHOWN:
        yield styled(f"and {len(overview.damage) - _DAMAGE_SHOWN} more: mlv verify names them", "yellow")


def _metrics(overview: Overview) -> Iterator[Any]:
    metrics = overview.first_metrics(_METRICS_SHOWN)
    if metrics:
        yield _columns(
            (
                styled(words.printable(name), "dim"),
                words.number(latest.value, overview.format_of(name)),
                words.printable(str(overview.view.state.descriptions.get(name, {}).get("unit") or "")),
                f"step {words.compact(latest.step)}" if latest.step is not None else "",
            )
            for name, latest in metrics.items()
        )
    if len(overview.metrics) > len(metrics):
        yield styled(f"and {len(overview.metrics) - len(metrics)} more: mlv show --json", "dim")


def checkpoints(folder: Path) -> dict[str, PortfolioState]:
    """Return the portfolio of each folder of checkpoints, from the log."""
    return retention.fold(Events(folder, retention.PORTFOLIO_TYPES))


def _checkpoints(overview: Overview) -> Iterator[Rows]:
    rows = [
        (
            f"{name}/{section}/{saved.name}",
            "best" if saved is portfolio.best else "superseded" if saved.name in portfolio.superseded else "",
            f"step {words.compact(saved.step)}" if saved.step is not None else "",
            "  ".join(f"{key}={words.number(value, overview.format_of(key))}" for key, value in saved.metrics.items()),
        )
        for name, portfolio in checkpoints(overview.view.path).items()
        for saved in portfolio
        for section in portfolio.sections_of(saved)[:1]
    ]
    if rows:
        yield _columns(rows[-_CHECKPOINTS_SHOWN:])


def files(folder: Path) -> dict[str, dict[str, Any]]:
    """Return path and size of the latest content of each published file, by name."""
    events = Events(folder, "file")
    return {event.name: {"path": event.data.get("path"), "size": event.data.get("size")} for event in events if _is_data(event)}


def _is_data(event: Event) -> bool:
    return isinstance(event.data, Mapping)


def _files(folder: Path) -> Iterator[Any]:
    published = list(files(folder).values())
    if published:
        yield _columns((file["path"], words.size(int(file["size"] or 0))) for file in published[:_FILES_SHOWN])
    if len(published) > _FILES_SHOWN:
        yield styled(f"and {len(published) - _FILES_SHOWN} more: mlv show --json", "dim")


def _below(overview: Overview, subs: list[Row], unicode: bool) -> Iterator[Rows]:
    if subs:
        rows = (
            (
                Text.assemble((branch.guide, "dim"), _plain(branch.label)),
                styled(branch.row.status, words.STATUS_STYLES.get(branch.row.status, "")),
                words.duration(branch.row.duration_s),
                styled((branch.row.id or "")[:8], "dim"),
            )
            for branch in tree(subs, overview.view.path, unicode)
        )
        yield _columns(rows)


def to_data(overview: Overview, subs: list[Row]) -> dict[str, Any]:
    """Return the page as a mapping for JSON."""
    view = overview.view
    return {
        "path": view.path,
        "name": view.name,
        "made_as": view.made_as,
        "id": view.id,
        "params_id": params_id(overview),
        "kind": view.kind,
        "status": overview.status,
        "created": view.meta.get("created"),
        "archived": view.is_archived,
        "tags": view.tags,
        "notes": view.notes,
        "params": view.params,
        "parent": view.meta.get("parent"),
        "script": view.meta.get("script"),
        "git": view.meta.get("git"),
        "machine": view.meta.get("machine"),
        "runs": [_run_data(run) for run in overview.runs],
        "total_s": view.total_s(overview.now),
        "streams": streams(view.path),
        "damaged": [str(hole) for hole in overview.damage],
        "metrics": {
            name: {"value": latest.value, "step": latest.step, "time": latest.time} for name, latest in overview.metrics.items()
        },
        "descriptions": view.state.descriptions,
        "checkpoints": {
            name: [
                {
                    "save": saved.save,
                    "step": saved.step,
                    "metrics": saved.metrics,
                    "file": saved.file,
                    "places": [f"{name}/{section}/{saved.name}" for section in portfolio.sections_of(saved)],
                    "is_best": saved is portfolio.best,
                    "is_latest": saved is portfolio.latest,
                }
                for saved in portfolio
            ]
            for name, portfolio in checkpoints(view.path).items()
        },
        "files": files(view.path),
        "sub_exps": [{"path": sub.path, "id": sub.id, "kind": sub.kind, "status": sub.status} for sub in subs],
        "error": overview.error,
    }


def _run_data(run: RunView) -> dict[str, Any]:
    return {
        "id": run.id, "status": run.status, "started": run.started, "ended": run.ended, "duration_s": run.duration_s,
        "paused": run.paused, "params": run.params, "exception": run.exception, "process": run.process,
        "is_copied": run.is_copied,
        "children": [_run_data(child) for child in run.children],
    }  # fmt: skip
