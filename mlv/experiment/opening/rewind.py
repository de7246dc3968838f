"""Rewinding to a step: later events are marked as superseded."""

from __future__ import annotations

from typing import Any

from mlv.experiment.checkpoints.shelf import forget_shelves
from mlv.experiment.session import Session
from mlv.query.rewinds import rewound
from mlv.store import layout

_WITHIN_S = 10.0  # the steps of events that wait in the ring count as well


def rewind(session: Session, step: Any) -> None:
    """Emit a `rewound` event: events logged so far with a greater step are superseded. Nothing is removed.

    Raises:
        InvalidArgument: The step is no finite number, or nothing that survives has come so far.
    """
    session.drain(_WITHIN_S)
    record = rewound(session.folder, step)
    session.emit(record.TYPE, record.to_data(), stream=layout.REWOUND)
    forget_shelves(session)
    session.flush(_WITHIN_S)
