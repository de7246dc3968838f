"""Projections: other forms of the log, each rebuildable at any time, and the console.

`Exp(..., outputs=["tensorboard"])` keeps one as the log grows, `mlv export EXP --to tensorboard` builds the same afterwards.
"""

from importlib import import_module as _import_module
from pathlib import Path as _Path
from time import monotonic as _monotonic
from time import sleep as _sleep
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from mlv.projections.registry import OUTPUTS as _OUTPUTS

if _TYPE_CHECKING:
    from mlv.projections.console import Console as Console
    from mlv.projections.csv import CSV as CSV
    from mlv.projections.hdf5 import HDF5 as HDF5
    from mlv.projections.output import Output as Output
    from mlv.projections.parquet import Parquet as Parquet
    from mlv.projections.tensorboard import TensorBoard as TensorBoard
    from mlv.store.attached import open_attached as open_attached

_LATER = {
    **{name: module for module, name in _OUTPUTS.values()},
    "Output": "mlv.projections.output",
    "open_attached": "mlv.store.attached",
}


def __getattr__(name: str) -> _Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = attribute = getattr(_import_module(_LATER[name]), name)
    return attribute


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})


_POLL_S = 0.05


def replay(exp: _Any, output: _Any, *, wait_s: float = 30.0) -> _Path:
    """Bring an output of an experiment up to date with its log, in this process; `output` is a name, or an object with options.

    Another process that keeps the output is waited for: it commits once a second, and ends soon after its run.

    Returns:
        The folder that holds it.

    Raises:
        InvalidArgument: There is no such output, another process still keeps it after `wait_s`, or the folder holds that of
            another experiment.
        MissingExtra, InvalidPattern: As `Exp(outputs=...)`.
        OSError: It cannot be written.
    """
    from mlv.errors import InvalidArgument  # `import mlv.projections` does without
    from mlv.projections.outputs import checked_outputs
    from mlv.projections.replaying import Replay, folder_of, is_up_to_date
    from mlv.store import layout

    folder = layout.absolute(getattr(exp, "path", exp))
    [projection] = checked_outputs([output], must_travel=False)
    work = Replay(folder, projection)
    try:
        deadline = _monotonic() + wait_s
        while not work.begin():
            if is_up_to_date(folder, projection):
                return folder_of(folder, projection)  # by the process that keeps it
            if _monotonic() > deadline:
                raise InvalidArgument(f"the output {projection.name!r} of {folder} is kept by a running process", output=output)
            _sleep(_POLL_S)
        work.catch_up()
        work.commit()
    finally:
        work.close()
    return folder_of(folder, projection)
