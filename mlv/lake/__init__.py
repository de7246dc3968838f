"""The lake: the logs of many experiments as tables of Delta Lake, for any engine; built incrementally, each line once."""

from mlv.lake.builder import Built, build, rebuild
from mlv.lake.checking import Checked, check
from mlv.lake.lake import Lake

open = Lake  # noqa: A001 - as `mlv.lake.open`
"""`mlv.lake.open(url)` opens a lake to read."""

__all__ = ["Built", "Checked", "Lake", "build", "check", "open", "rebuild"]
