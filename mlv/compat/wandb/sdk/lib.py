"""`wandb.sdk.lib`: errors of the config, new IDs, and the class of runs that are disabled."""

from __future__ import annotations

from mlv.compat.wandb import errors as config_util
from mlv.compat.wandb import util as runid


class RunDisabled:
    """A class that libraries compare with; a run that is disabled is a `Run`, as in wandb since 0.16."""


__all__ = ["RunDisabled", "config_util", "runid"]
