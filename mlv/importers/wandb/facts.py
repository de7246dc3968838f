"""The facts about a run of W&B: what it is, and where it ran, as its first records say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlv.experiment.importing.source import SourceExperiment
from mlv.importers import protobuf
from mlv.importers.protobuf import UNDECODABLE, text_of
from mlv.importers.reading import SourceReading
from mlv.importers.values import moment
from mlv.importers.wandb import records as r
from mlv.importers.wandb.log import records

NAME = "wandb"
FILE = re.compile(r"run-(.+)\.wandb\Z")
_FIRST_RECORDS = 64
"""Records in which the facts about a run stand: they are sent when it begins."""
_HAPPENED = frozenset({r.HISTORY, r.SUMMARY, r.CONFIG, r.STATS, r.ARTIFACT, r.ALERT, r.METRIC, r.OUTPUT, r.OUTPUT_RAW, r.EXIT})
"""Records that follow those with the facts about a run."""


class RunFacts:
    """The first records of a run: what it is, and where it ran."""

    def __init__(self, path: Path) -> None:
        match = FILE.match(path.name)
        self.id = match[1] if match else path.stem
        self.entity = self.project = self.name = self.notes = ""
        self.started = 0.0
        self.tags: list[str] = []
        self.params: dict[str, Any] = {}
        self.more: dict[str, Any] = {}
        """Facts for which mlv has no field."""
        self.environment: dict[int, Any] = {}
        self.commit = self.remote = ""
        self.is_marked = False
        self.is_begun = False
        """Whether these facts are complete: something has happened since, or damage hides what they are."""

    @classmethod
    def of(cls, path: Path) -> RunFacts:
        """Read them; of a damaged file as much as there is."""
        facts, reading = cls(path), SourceReading()
        with open(path, "rb") as file:
            for number, message in enumerate(records(file, reading)):
                if number >= _FIRST_RECORDS:
                    break
                try:
                    facts._take(r.record_of(message))
                except UNDECODABLE:
                    reading.leave("records")
        facts.is_begun = facts.is_begun or bool(reading.left)
        return facts

    def _take(self, record: r.Record) -> None:
        kind, content, is_marked = record
        self.is_begun = self.is_begun or kind in _HAPPENED
        if kind == r.RUN and not self.started:
            values = protobuf.grouped(content)
            self.id = text_of(values, 1) or self.id
            self.entity, self.project, self.name, self.notes = (text_of(values, number) for number in (2, 3, 8, 9))
            self.tags = tags_of(values)
            self.started = r.time_of(values[17][-1]) if 17 in values else 0.0
            self.more = {
                field: text_of(values, number)
                for field, number in (("group", 6), ("job_type", 7), ("sweep", 12))
                if text_of(values, number)
            }
            self.environment.setdefault(12, values.get(13, [b""])[-1])
            self._take_git(values.get(21))
            self.is_marked = is_marked
            for path, value in config_items(values.get(4, [b""])[-1]):
                set_at(self.params, path, value)
        elif kind == r.ENVIRONMENT:
            values = protobuf.grouped(content)
            self._take_git(values.get(9))
            self.environment.update({number: found if number == 5 else found[-1] for number, found in values.items()})

    def _take_git(self, git: list[bytes] | None) -> None:
        if git:
            values = protobuf.grouped(git[-1])
            self.remote, self.commit = text_of(values, 1), text_of(values, 2)

    def experiment(self) -> SourceExperiment:
        """Return the experiment that the run is the first of."""
        identity = {"format": NAME, "project": self.project, "id": self.id, **self.more}
        return SourceExperiment(
            self.name or self.id,
            moment(self.started) or moment(0.0),  # type: ignore[arg-type]
            {**identity, **({"entity": self.entity} if self.entity else {})},
            params=self.params,
            tags=[*self.tags, "imported", NAME],
            notes=self.notes or None,
            captured=self._captured(),
            folders=(self.project,) if self.project else (),
        )

    def _captured(self) -> dict[str, Any]:
        texts = {number: protobuf.text(value) for number, value in self.environment.items() if isinstance(value, bytes)}
        captured: dict[str, Any] = {}
        if texts.get(6):
            arguments = [protobuf.text(word) for word in self.environment.get(5, [])]
            script = {"kind": "script", "path": texts[6], "argv": [texts[6], *arguments], "cwd": texts.get(11)}
            implementation, _, version = texts.get(2, "").rpartition(" ")
            python = {"version": version, "implementation": implementation.lower(), "executable": texts.get(14, "")}
            captured["script"] = {**script, "python": {key: value for key, value in python.items() if value}}
        if self.commit or self.remote:
            captured["git"] = {"commit": self.commit or None, "remotes": {"origin": self.remote} if self.remote else {}}
        if texts.get(12) or texts.get(1):
            cores = {"physical": self.environment.get(16), "logical": self.environment.get(17)}
            machine = {"host": texts.get(12), "user": texts.get(13), "platform": texts.get(1)}
            captured["machine"] = {**machine, "cores": {key: value for key, value in cores.items() if value}}
        return captured


def tags_of(values: Mapping[int, list[Any]]) -> list[str]:
    """Return the tags of a run, without empty ones."""
    return [text for tag in values.get(10, []) if (text := protobuf.text(tag)).strip()]


def config_items(content: bytes) -> list[tuple[r.Path, Any]]:
    """Return path and value of the params in a `ConfigRecord`, without those of W&B itself."""
    return [(path, r.value_of(text)) for path, text in r.Items().of(content) if path and path[0] != "_wandb"]


def set_at(mapping: dict[str, Any], path: r.Path, value: Any) -> None:
    """Set a value at a path, whose mappings are made where they are missing."""
    *around, last = path
    for key in around:
        inner = mapping.get(key)
        mapping[key] = inner = dict(inner) if isinstance(inner, dict) else {}
        mapping = inner
    mapping[last] = value
