"""One experiment for its page: what it is, what it consists of, and whether it is as it was written."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mlv import retention
from mlv.audit.findings import Report
from mlv.audit.verify import verify
from mlv.errors import MlvError
from mlv.events import Event
from mlv.media.kinds import KINDS
from mlv.query.digest import Digest
from mlv.query.moments import Moment, surviving
from mlv.query.runs import RunView, views
from mlv.store import attached, layout
from mlv.store.meta import read_meta
from mlv.store.mirrors import is_mirrored
from mlv.web.files import references
from mlv.web.lists import ExperimentList
from mlv.web.plain import as_text, bounded, plain
from mlv.web.rows import IndexRow

_MOST_FILES = 5000
"""Files in one answer."""
_LARGEST_SECTION = 4 << 20
"""Bytes of the params in an answer; meta.json has all."""
_LONGEST_DIFF = 1 << 20
_LISTED = ("file", "checkpoint", "note", "system", "rewound", *KINDS)


def overview(index: ExperimentList, row: IndexRow) -> dict[str, Any]:
    """Return everything about an experiment but its points and events.

    Raises:
        NotAnExperiment: Its meta.json cannot be read any more.
    """
    digest = whole(row)
    folder, meta = digest.path, digest.meta
    now = index.asof or datetime.now(timezone.utc)
    runs = digest.runs(now) if index.asof is None else views(digest.state, now, lambda process: False)
    listed = _listed(folder, row.moment)
    params, is_cut = bounded(digest.params, _LARGEST_SECTION)
    return as_text({
        "id": digest.id, "short": digest.id[:8], "name": digest.name, "made_as": digest.made_as, "kind": digest.kind,
        "path": Path(os.path.relpath(folder, index.root)).as_posix(), "folder": str(folder),
        "created": _created(digest),
        "status": row.status if index.asof is not None else digest.status(now),
        "total_s": digest.total_s(now), "params": plain(params), "params_cut": is_cut, "tags": list(digest.tags),
        "notes": [*_first_note(digest), *listed["notes"]],
        "parent": _parent(index, digest), "children": _children(index, digest),
        "runs": [_run(run) for run in runs], "script": plain(meta.get("script")),
        "git": plain(with_diff(digest)), "env": plain(meta.get("env")),
        "machine": plain(meta.get("machine")),
        "metrics": {name: {**plain(_summary(summary)), "described": plain(dict(digest.state.descriptions.get(name, {})))}
                    for name, summary in digest.metrics.items()},
        "media": listed["media"], "files": listed["files"], "checkpoints": listed["checkpoints"], "system": listed["system"],
        "streams": layout.streams_in(folder),
    })  # fmt: skip


def whole(row: IndexRow) -> Digest:
    """Return the digest of an experiment with all of its meta.json.

    Raises:
        NotAnExperiment: It cannot be read any more.
    """
    return replace(row.digest, meta=read_meta(row.digest.path).content)


def with_diff(digest: Digest) -> dict[str, Any]:
    """Return what was captured of git, with the text of the diff beside its reference, as far as it is not too long."""
    git = dict(digest.captured("git"))
    diff = git.get("diff")
    reference = diff.get("file") if isinstance(diff, Mapping) else None
    if isinstance(diff, Mapping) and isinstance(reference, Mapping):
        with suppress(MlvError), attached.open_attached(digest.path, reference) as file:
            content = file.read(_LONGEST_DIFF + 1)
            text = content[:_LONGEST_DIFF].decode("utf-8", "replace")
            git["diff"] = {**diff, "text": text, "cut": len(content) > _LONGEST_DIFF or diff.get("truncated") is True}
    return git


def _created(digest: Digest) -> float | None:
    created = digest.created_at
    return created.timestamp() if created is not None else None


def _summary(summary: Any) -> dict[str, Any]:
    names = ("value", "statistic", "last", "min", "max", "best", "mean", "count", "nans", "last_step", "best_step")
    return {name: getattr(summary, name) for name in names}


def _first_note(digest: Digest) -> list[dict[str, Any]]:
    recorded = digest.meta.get("notes")
    return [{"time": _created(digest), "text": str(recorded), "run": None}] if recorded else []


def _parent(index: ExperimentList, digest: Digest) -> dict[str, Any] | None:
    parent = digest.captured("parent")
    if not parent:
        return None
    return {
        "id": digest.parent_id,
        "name": index.name_of(digest.parent_id) if digest.parent_id is not None else None,
        "checkpoint": plain(parent.get("checkpoint")),
        "path": plain(parent.get("path")),
    }


def _children(index: ExperimentList, digest: Digest) -> list[dict[str, Any]]:
    return [
        {"id": row.digest.id, "name": row.digest.name, "kind": row.digest.kind, "status": row.status}
        for row in index.children(digest.id)
    ]


def _run(run: RunView) -> dict[str, Any]:
    process = run.process or {}
    return {
        "run": run.id, "status": run.status, "started": plain(run.started), "ended": plain(run.ended),
        "duration_s": run.duration_s, "paused": run.paused, "params": plain(dict(run.params)),
        "exception": plain(run.exception), "host": plain(process.get("host") or process.get("machine")),
        "pid": plain(process.get("pid")), "children": [_run(child) for child in run.children],
    }  # fmt: skip


def _listed(folder: Path, moment: Moment | None) -> dict[str, Any]:
    """Return media, files, checkpoints, notes and system metrics that the events of an experiment name."""
    media: Counter[tuple[str, str]] = Counter()
    files: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    system: dict[str, None] = {}
    checkpoints: list[Event] = []
    for event in surviving(folder, _LISTED, moment):
        data = event.data if isinstance(event.data, Mapping) else {}
        if event.type == "system":
            system.update(dict.fromkeys(key for key in data if key != "of"))
        elif event.type == "note":
            notes.append({"time": plain(event.time), "text": str(data.get("text", "")), "run": event.run})
        elif event.type in ("checkpoint", "rewound"):
            checkpoints.append(event)
        elif event.type in KINDS:
            media[event.type, event.name] += 1
        elif len(files) < _MOST_FILES:
            files += [_file(event, reference) for reference in references(event.data)]
    return {
        "media": [{"type": kind, "name": name, "count": count} for (kind, name), count in media.items()],
        "files": files, "notes": notes, "system": list(system), "checkpoints": _kept(retention.fold(checkpoints)),
    }  # fmt: skip


def _file(event: Event, reference: Mapping[str, Any]) -> dict[str, Any]:
    own = {key: plain(reference.get(key)) for key in ("path", "size", "sha256", "media_type")}
    return {**own, "name": event.name, "step": plain(event.step), "time": plain(event.time), "run": event.run, "seq": event.seq}


def _kept(portfolios: Mapping[str, retention.PortfolioState]) -> list[dict[str, Any]]:
    """Return the checkpoints that are kept, with the folders that have them."""
    return [
        {
            "portfolio": folder, "name": saved.name, "step": plain(saved.step), "save": saved.save,
            "metrics": plain(dict(saved.metrics)), "file": plain(dict(saved.file)),
            "paths": [f"{folder}/{section}/{saved.name}" for section in portfolio.sections_of(saved)],
            "is_best": saved is portfolio.best, "is_superseded": saved.name in portfolio.superseded,
        }
        for folder, portfolio in portfolios.items()
        for saved in portfolio
    ]  # fmt: skip


def verified(row: IndexRow) -> dict[str, Any]:
    """Return the verdict on an experiment, with its findings."""
    return as_text(plain(_report(row.digest.path).to_data()))


def _report(folder: Path) -> Report:
    if is_mirrored(folder):  # by what lies in the bucket, as the mirror lacks the files that nobody opened
        from mlv.bucket.mirror import mirror_of  # experiments on a disk do without
        from mlv.bucket.verifying import verify_url

        if (mirror := mirror_of(folder)) is not None:
            return verify_url(mirror.url)
    return verify(folder)
