"""Params from a framework: stored as far as they can be, whatever they hold, without an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlv.capture.redaction import Redactor
from mlv.errors import MlvWarning
from mlv.experiment.opening import params as params_
from mlv.experiment.session import Session
from mlv.notices import warn

CHANGED = "params_changed"
"""The type of the event that records other values of params; the first ones stay in force."""


def add(session: Session, redactor: Redactor, recorded: Mapping[str, Any], params: Any) -> dict[str, Any]:
    """Store the params that are new, and return them; record values that changed, and name values without a JSON form.

    A value that changed leaves an event of type `params_changed`, and one stored as text a message. Each is warned about, once
    in a run: frameworks hand over the same params again and again.
    """
    requested, remark = params_.readable_params(params)
    memory: dict[str, Any] = session.memory.setdefault(__name__, {"remarks": set(), "changes": {}})
    new = params_.added(recorded, requested)
    if new:
        session.emit("params", redactor.params(new))
    if remark and remark not in memory["remarks"]:
        memory["remarks"].add(remark)
        text = redactor.text(remark, "message")
        session.emit("message", {"level": "warning", "message": text})
        warn(text, MlvWarning)
    _record_changes(session, _changes(redactor, recorded, requested), memory["changes"])
    return new


def _changes(redactor: Redactor, recorded: Mapping[str, Any], requested: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params with another value than before, redacted; what is redacted on both sides is no change."""
    redacted: dict[str, Any] = redactor.params(params_.changed(recorded, requested))
    return params_.changed(recorded, redacted)


def _record_changes(session: Session, changes: Mapping[str, Any], before: dict[str, Any]) -> None:
    """Record changes that are not those recorded before."""
    new = {**params_.added(before, changes), **params_.changed(before, changes)}
    if new:
        before.update(new)
        session.emit(CHANGED, new)
        names = ", ".join(f"params.{name} is now {value!r:.60}" for name, value in new.items())
        warn(f"{names}: the first value stays, and the change is recorded as an event of type {CHANGED!r}", MlvWarning)
