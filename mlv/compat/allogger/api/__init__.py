"""Reading the files that loggers left."""

from mlv.compat.allogger.api import hdf

__all__ = ["hdf"]
