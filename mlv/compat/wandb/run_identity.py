"""The identity of a run: its ID and names, the experiment, where it lies, and what config and summary hold."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlv import Exp
from mlv.compat.wandb import folders
from mlv.compat.wandb.config import Config, ConfigStatic
from mlv.compat.wandb.settings import Settings, tags_of
from mlv.compat.wandb.summary import Summary


class Identity:
    """The part of `Run` that says which run it is, and how it is described."""

    if TYPE_CHECKING:
        _exp: Exp | None
        _id: str
        _name: str
        _project: str
        _notes: str | None
        _tags: tuple[str, ...]
        _dir: str | None
        _settings: Settings
        _config: Config
        _summary: Summary
        _step: int
        _starting_step: int
        _resumed: bool
        _start_time: float

        def _record(self, facts: Mapping[str, Any]) -> None: ...

    @property
    def id(self) -> str:
        """The ID, by which a run is resumed."""
        return self._id

    @property
    def exp(self) -> Exp | None:
        """The experiment of mlv; None where the run is disabled."""
        return self._exp

    @property
    def name(self) -> str:
        """The name: that of the experiment's folder, unless a script sets another."""
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = str(name)
        self._record({"name": self._name})

    @property
    def notes(self) -> str | None:
        """A text for people."""
        return self._notes

    @notes.setter
    def notes(self, notes: str) -> None:
        self._notes = str(notes)
        if self._exp is not None:
            self._exp.add_note(self._notes)

    @property
    def tags(self) -> tuple[str, ...]:
        """Words to find it by; those that a script adds are added to the experiment."""
        return self._tags

    @tags.setter
    def tags(self, tags: Sequence[str]) -> None:
        before, self._tags = self._tags, tags_of([tags] if isinstance(tags, str) else tags)
        new = [tag for tag in self._tags if tag not in before]
        if new and self._exp is not None:
            self._exp.add_tags(*new)

    @property
    def dir(self) -> str:
        """A folder for files of the script, which are attached to the experiment when the run ends."""
        if self._dir is None:
            if self._exp is None:
                import shutil  # a run that stores something does without both
                import tempfile

                self._dir = tempfile.mkdtemp(prefix="wandb-")
                weakref.finalize(self, shutil.rmtree, self._dir, ignore_errors=True)
            else:
                self._dir = str(folders.id_folder(self._exp.path.absolute(), self._id) / "files")
        os.makedirs(self._dir, exist_ok=True)
        return self._dir

    @property
    def url(self) -> str | None:
        """The address of the experiment's folder."""
        return None if self._exp is None else self._exp.path.absolute().as_uri()

    @property
    def project_url(self) -> str | None:
        """The address of the project's folder."""
        return None if self._exp is None else self._exp.path.absolute().parent.as_uri()

    def get_url(self) -> str | None:
        """Return `url`."""
        return self.url

    def get_project_url(self) -> str | None:
        """Return `project_url`."""
        return self.project_url

    @property
    def project(self) -> str:
        """The name of the project."""
        return self._project

    def project_name(self) -> str:
        """Return `project`."""
        return self._project

    @property
    def entity(self) -> str:
        """Who or what it belongs to, where somebody said so."""
        return self._settings.entity or ""

    @property
    def group(self) -> str:
        """The name of the group."""
        return self._settings.run_group or ""

    @property
    def job_type(self) -> str:
        """The sort of run, which is the kind of the experiment."""
        return self._settings.run_job_type or ""

    @property
    def path(self) -> str:
        """`<entity>/<project>/<id>`, without an entity that nobody named."""
        return "/".join(filter(None, (self.entity, self._project, self._id)))

    @property
    def step(self) -> int:
        """The step of the row that the next call without a step logs into."""
        return self._step

    @property
    def starting_step(self) -> int:
        """The first step of this run; above 0 where it was resumed."""
        return self._starting_step

    @property
    def resumed(self) -> bool:
        """Whether it goes on with an earlier run."""
        return self._resumed

    @property
    def disabled(self) -> bool:
        """Whether nothing is stored."""
        return self._exp is None

    @property
    def offline(self) -> bool:
        """Whether nothing is sent anywhere: always."""
        return True

    @property
    def mode(self) -> str:
        """`disabled` or `offline`."""
        return "disabled" if self._exp is None else "offline"

    @property
    def start_time(self) -> float:
        """When it began, in seconds since 1970."""
        return self._start_time

    @property
    def sweep_id(self) -> str | None:
        """The sweep that it belongs to; None without one."""
        sweep_id = self._settings.sweep_id
        return None if sweep_id is None else str(sweep_id)

    @property
    def sweep_url(self) -> str | None:
        """The address of the sweep's folder."""
        if self._exp is None or self.sweep_id is None:
            return None
        return (self._exp.path.absolute().parent / folders.SWEEPS / self.sweep_id).as_uri()

    def get_sweep_url(self) -> str | None:
        """Return `sweep_url`."""
        return self.sweep_url

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._settings

    @property
    def config(self) -> Config:
        """The params."""
        return self._config

    @property
    def config_static(self) -> ConfigStatic:
        """The params as they are now, read-only."""
        return ConfigStatic(self._config)

    @property
    def summary(self) -> Summary:
        """The last values of all metrics, and those that the script puts there."""
        return self._summary

    def display(self, height: int = 420, hidden: bool = False) -> bool:
        """Return False: there is nothing to show in a notebook; `mlv ui` shows experiments."""
        return False

    def to_html(self, height: int = 420, hidden: bool = False) -> str:
        """Return a link to the experiment's folder."""
        return f'<a href="{self.url}">{self._name}</a>'
