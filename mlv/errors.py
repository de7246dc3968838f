"""The tree of mlv's errors and warnings.

```
MlvError
├── InvalidName          (ValueError)         an experiment, kind, stream or event has a name that cannot be used
├── InvalidArgument      (ValueError)         an option has a value that it cannot have
├── InvalidStep          (TypeError)          a step is not a number
├── InvalidParams        (TypeError)          params are not mapping-like, or hold a value without a JSON form
├── InvalidPattern       (ValueError)         a regular expression or a pattern over names cannot be read
├── QueryFailed          (ValueError)         a query or predicate of SQL cannot be run
├── ParamsConflict       (ValueError)         params differ from those the experiment was made with
├── UnknownParam         (KeyError)           the experiment has no param of that name
├── UnknownMetric        (KeyError)           nobody logged a metric of that name
├── SavedirUnusable      (OSError)            nothing can be created in the folder given
├── ExperimentExists     (FileExistsError)    the name is taken, and on_exists="error"
├── NotAnnotated         (OSError)            a tag or a note could not be written into the experiment
├── ExperimentBusy       (OSError)            somebody writes into the experiment, which has to rest for this call
├── NotAnExperiment      (FileNotFoundError)  the folder has no readable meta.json
├── CheckpointMissing    (FileNotFoundError)  there is no checkpoint, or no file where it should be
├── CheckpointNotSaved   (OSError)            a checkpoint could not be saved; those before are as they were
├── CheckpointNotLoaded  (ValueError)         the file was changed, or cannot be read without trusting it
├── FileUnusable         (OSError)            a file or folder cannot be read, or cannot be published
├── ReferenceBroken      (FileNotFoundError)  the target of a reference was changed, or is gone
├── FileExists           (FileExistsError)    a file of that name is published already, and mode "x" asked for a new one
├── ExtraNotFound        (FileNotFoundError)  the experiment has no extra of that name
├── ExtraUnusable        (ValueError)         an extra is damaged, or would have to be unpickled without trust
├── NotStorable          (TypeError)          an object has no form that it could be saved in
├── MetaEdited           (ValueError)         meta.json is not the one that its runs recorded
├── OnlyRead             (PermissionError)    the experiment is in a bucket, and nothing is logged into it there
├── RanksNotMet          (TimeoutError)       the main rank of this launch did not make the experiment in time
├── TooManyStreams       (ValueError)         one run may not write into so many streams
├── CannotResume         (ValueError)         the files of an output are not those of its last commit: it is built again
├── TaskNotDone          (RuntimeError)       the workers of an executor ended, cannot be reached, or cannot run mlv
├── MissingExtra         (ImportError)        an optional package is needed
├── BucketError          (OSError)            an object store cannot do what was asked
│   ├── BucketUnreachable (ConnectionError)   it does not answer, or answers with a fault: another try may help
│   ├── BucketDenied     (PermissionError)    it refuses the credentials, or these may not do this
│   ├── BucketMissing    (FileNotFoundError)  there is no bucket of that name
│   ├── NoSuchObject     (FileNotFoundError)  there is no object of that name
│   └── ObjectDiffers    (FileExistsError)    there is another one of that name, which stays
└── LakeError            (OSError)            a lake cannot be built, or read
    ├── LakeMissing      (FileNotFoundError)  there is no lake
    ├── LakeDamaged      (ValueError)         its plans or tables are not what mlv wrote
    ├── LakeBusy         (BlockingIOError)    another builder is at work, and the store does not keep two apart
    └── LakeTooNew       (ValueError)         a newer version of mlv built it

MlvWarning               (UserWarning)
├── RejectedWarning      an event could not be stored as it was given
├── OutputFailed         an output stopped; the log is complete, and the output can be built again from it
├── RedactedWarning      a value that looked like a credential was kept from the disk
└── WritingStalled       the writer cannot append: the disk is full, or hangs, or the process is gone
```

Every error carries the values that it is about as attributes, and survives pickling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlv.words import printable

__all__ = [
    "BucketDenied",
    "BucketError",
    "BucketMissing",
    "BucketUnreachable",
    "CannotResume",
    "CheckpointMissing",
    "CheckpointNotLoaded",
    "CheckpointNotSaved",
    "ExperimentBusy",
    "ExperimentExists",
    "ExtraNotFound",
    "ExtraUnusable",
    "FileExists",
    "FileUnusable",
    "InvalidArgument",
    "InvalidName",
    "InvalidParams",
    "InvalidPattern",
    "InvalidStep",
    "LakeBusy",
    "LakeDamaged",
    "LakeError",
    "LakeMissing",
    "LakeTooNew",
    "MetaEdited",
    "MissingExtra",
    "MlvError",
    "MlvWarning",
    "NoSuchObject",
    "NotAnExperiment",
    "NotAnnotated",
    "NotStorable",
    "ObjectDiffers",
    "OnlyRead",
    "OutputFailed",
    "ParamsConflict",
    "QueryFailed",
    "RanksNotMet",
    "RedactedWarning",
    "ReferenceBroken",
    "RejectedWarning",
    "SavedirUnusable",
    "TaskNotDone",
    "TooManyStreams",
    "UnknownMetric",
    "UnknownParam",
    "WritingStalled",
]


class MlvError(Exception):
    """Base of everything that mlv raises on purpose; the keyword arguments become attributes."""

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.fields = fields
        for name, value in fields.items():
            setattr(self, name, value)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def __str__(self) -> str:
        # Not as KeyError, which would show the repr. Python itself prints it, with names that a hostile folder may have chosen.
        return printable(str(self.args[0]), keep="\n\t")

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), str(self), {name: _travelling(value) for name, value in self.fields.items()})


def _travelling(value: Any) -> Any:
    """Return the value, or its `repr` where it cannot be pickled: values in errors are often of that kind."""
    import pickle  # most errors stay at home

    try:
        pickle.dumps(value)
        return value
    except Exception:
        return object.__repr__(value)


def _rebuild(kind: type[MlvError], message: str, fields: dict[str, Any]) -> MlvError:
    return kind(message, **fields)


class InvalidName(MlvError, ValueError):
    """An experiment, kind, stream or event has a name that cannot be used."""


class InvalidArgument(MlvError, ValueError):
    """An option has a value that it cannot have."""


class InvalidStep(MlvError, TypeError):
    """A step is not a number."""


class InvalidParams(MlvError, TypeError):
    """Params are not mapping-like, or hold a value without a JSON form."""


class InvalidPattern(MlvError, ValueError):
    """A regular expression or a pattern over names cannot be read."""


class QueryFailed(MlvError, ValueError):
    """A query or a predicate of SQL cannot be run."""


class ParamsConflict(MlvError, ValueError):
    """Params differ from those that the experiment was made with."""


class UnknownParam(MlvError, KeyError):
    """The experiment has no param of that name."""


class UnknownMetric(MlvError, KeyError):
    """Nobody logged a metric of that name."""


class SavedirUnusable(MlvError, OSError):
    """Nothing can be created in the folder given."""


class ExperimentExists(MlvError, FileExistsError):
    """The name is taken, and the caller asked for an error in that case."""


class ExperimentBusy(MlvError, OSError):
    """Somebody writes into the experiment, which has to rest for this call."""


class NotAnnotated(MlvError, OSError):
    """A tag or a note could not be written into the experiment."""


class NotAnExperiment(MlvError, FileNotFoundError):
    """The folder has no readable meta.json."""


class CheckpointMissing(MlvError, FileNotFoundError):
    """There is no checkpoint, or no file where it should be."""


class CheckpointNotSaved(MlvError, OSError):
    """A checkpoint could not be saved; those before are as they were."""


class CheckpointNotLoaded(MlvError, ValueError):
    """The file of a checkpoint was changed since, or cannot be read without trusting it."""


class FileUnusable(MlvError, OSError):
    """A file or folder cannot be read, or cannot be published."""


class ReferenceBroken(MlvError, FileNotFoundError):
    """The target of a reference was changed, or is gone."""


class FileExists(MlvError, FileExistsError):
    """A file of that name is published already, and mode "x" asked for a new one."""


class ExtraNotFound(MlvError, FileNotFoundError):
    """The experiment has no extra of that name."""


class ExtraUnusable(MlvError, ValueError):
    """An extra is damaged, or would have to be unpickled without trust."""


class NotStorable(MlvError, TypeError):
    """An object has no form that it could be saved in."""


class MetaEdited(MlvError, ValueError):
    """meta.json is not the one that its runs recorded."""


class OnlyRead(MlvError, PermissionError):
    """The experiment is in a bucket, and nothing is logged into it there."""


class RanksNotMet(MlvError, TimeoutError):
    """The main rank of this launch did not make the experiment in time."""


class TooManyStreams(MlvError, ValueError):
    """One run may not write into so many streams."""


class CannotResume(MlvError, ValueError):
    """The files of an output are not those of its last commit: it is built again from the beginning of the log."""


class TaskNotDone(MlvError, RuntimeError):
    """The workers of an executor ended, cannot be reached, or cannot run mlv."""


class MissingExtra(MlvError, ImportError):
    """An optional package is needed for this call."""


class BucketError(MlvError, OSError):
    """An object store cannot do what was asked; its text names the URL."""


class BucketUnreachable(BucketError, ConnectionError):
    """An object store does not answer, or answers with a fault of its own: another try may help."""


class BucketDenied(BucketError, PermissionError):
    """An object store refuses the credentials, or these may not do what was asked."""


class BucketMissing(BucketError, FileNotFoundError):
    """There is no bucket of that name."""


class NoSuchObject(BucketError, FileNotFoundError):
    """There is no object of that name in the bucket."""


class ObjectDiffers(BucketError, FileExistsError):
    """There is another object of that name in the bucket; it stays as it is."""


class LakeError(MlvError, OSError):
    """A lake cannot be built or read; its text names the URL."""


class LakeMissing(LakeError, FileNotFoundError):
    """There is no lake at the URL."""


class LakeDamaged(LakeError, ValueError):
    """The plans or tables of a lake are not what mlv wrote: an object was edited, or another program wrote one."""


class LakeBusy(LakeError, BlockingIOError):
    """Another builder is at work, on a store that does not keep two apart."""


class LakeTooNew(LakeError, ValueError):
    """A newer version of mlv built the lake."""


class MlvWarning(UserWarning):
    """Base of the warnings that mlv shows."""


class RejectedWarning(MlvWarning):
    """An event could not be stored as it was given."""


class OutputFailed(MlvWarning):
    """An output stopped; the log is complete, and the output can be built again from it."""


class RedactedWarning(MlvWarning):
    """A value that looked like a credential was kept from the disk."""


class WritingStalled(MlvWarning):
    """The writer cannot append: the disk is full, or hangs, or the process is gone."""
