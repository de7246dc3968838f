"""The identity of an experiment: its path, name, rank and IDs, and the params, tags and notes that describe it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlv.errors import UnknownParam
from mlv.experiment.opening import params as params_
from mlv.experiment.session import Session
from mlv.frozen import FrozenDict, frozen
from mlv.store.meta import Meta

if TYPE_CHECKING:
    from mlv.query.view import ExperimentView


class Identity:
    """The part of `Exp` that says which experiment it is, and how it is described."""

    __slots__ = ()

    if TYPE_CHECKING:
        _folder: Path
        _meta: Meta
        _params: FrozenDict | None
        _session: Session

        def _view(self) -> ExperimentView: ...

    @property
    def path(self) -> Path:
        """The folder; under `MLV_DISABLED` a private one that is removed with the end of the process."""
        self._session.prepare()
        return self._folder

    @property
    def name(self) -> str:
        """Name of the folder; `meta["name"]` is the one it was made with."""
        return str(self._meta.content.get("name")) if self._session.is_disabled else self._folder.name

    @property
    def rank(self) -> int:
        """Rank of this process among those that were launched together; 0 if it is alone."""
        return self._session.rank

    @property
    def is_main(self) -> bool:
        """Whether this process is rank 0, which makes the experiment and, with `ranks="main"`, alone writes into it."""
        return self.rank == 0

    @property
    def kind(self) -> str | None:
        """The sort of experiment, such as `squeeze`."""
        return self._meta.content.get("kind")

    @property
    def id(self) -> str:
        """SHA-256 of the bytes of meta.json: `sha256sum meta.json` prints it."""
        return self._meta.id

    @property
    def short_id(self) -> str:
        """The first eight digits of the ID."""
        return self.id[:8]

    @property
    def params_id(self) -> str:
        """SHA-256 of the canonical JSON of the params in meta.json: equal for equal settings."""
        nonfinite = self._meta.content.get("nonfinite") or {}
        own = {pointer[len("/params") :]: text for pointer, text in nonfinite.items() if pointer.startswith("/params/")}
        plain, new_nonfinite = params_.plain_params(self._meta.content["params"])
        return params_.params_id(plain, {**own, **new_nonfinite})

    @property
    def meta(self) -> FrozenDict:
        """The content of meta.json, read-only."""
        return self._meta.content

    @property
    def params(self) -> FrozenDict:
        """All params, those added later included, read-only; in the process that passed them with their real values."""
        if self._params is not None:
            return self._params
        result: FrozenDict = frozen(self._view().params)
        return result

    def __contains__(self, key: object) -> bool:
        return key in self.params

    def __getitem__(self, key: str) -> Any:
        """Return one of the params.

        Raises:
            UnknownParam: There is none of that name.
        """
        params = self.params
        if key not in params:
            names = ", ".join(sorted(params)) or "none"
            raise UnknownParam(f"experiment {self.name!r} has no param {key!r}; it has: {names}", key=key)
        return params[key]

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags, those added later included, without those taken away."""
        return self._view().tags

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes, those added later included."""
        return self._view().notes
