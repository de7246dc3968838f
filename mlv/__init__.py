"""An append-only experiment store for machine learning, in plain files.

`Exp(savedir, name, params)` begins an experiment, `exp.log({...}, step=3)` logs, `init_sub_exp(checkpoint, kind)` goes on from
a checkpoint; everything is in `meta.json` and `log.jsonl` of the experiment's folder.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from mlv import errors
from mlv.encoding import ForeignStep
from mlv.errors import MlvError, MlvWarning
from mlv.events import Event
from mlv.experiment.exp import Exp
from mlv.experiment.logger import Logger
from mlv.store.references import ExpRef, FileRef

if _TYPE_CHECKING:
    from mlv.audit.provenance import whence
    from mlv.experiment.checkpoints.checkpoint import Checkpoint
    from mlv.experiment.experiments import Experiments, find
    from mlv.experiment.logfile import log_to, read
    from mlv.experiment.opening.args import add_arguments_to, exp_from_args
    from mlv.experiment.opening.sub_experiments import init_sub_exp

_LATER = {
    "Checkpoint": "mlv.experiment.checkpoints.checkpoint",
    "Experiments": "mlv.experiment.experiments",
    "add_arguments_to": "mlv.experiment.opening.args",
    "exp_from_args": "mlv.experiment.opening.args",
    "find": "mlv.experiment.experiments",
    "init_sub_exp": "mlv.experiment.opening.sub_experiments",
    "log_to": "mlv.experiment.logfile",
    "read": "mlv.experiment.logfile",
    "whence": "mlv.audit.provenance",
}
"""What is imported when it is first used: `import mlv` stays light."""

_MODULES = ("hdf", "integrations", "lake", "projections")


def __getattr__(name: str) -> _Any:
    if name in _MODULES:
        return _import_module(f"mlv.{name}")
    if name in errors.__all__:
        return getattr(errors, name)  # where all of them stood, before `mlv.errors` was public
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = attribute = getattr(_import_module(_LATER[name]), name)
    return attribute


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})


__version__ = "0.1.0"

__all__ = [
    "Checkpoint",
    "Event",
    "Exp",
    "ExpRef",
    "Experiments",
    "FileRef",
    "ForeignStep",
    "Logger",
    "MlvError",
    "MlvWarning",
    "add_arguments_to",
    "exp_from_args",
    "find",
    "init_sub_exp",
    "log_to",
    "read",
    "whence",
]
