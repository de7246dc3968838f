"""Outputs of a logger: columns, models, figures, other objects, and updates for Weights & Biases."""

from mlv.compat.mle_logging.save.extra_log import ExtraLog
from mlv.compat.mle_logging.save.figure_log import FigureLog
from mlv.compat.mle_logging.save.model_log import ModelLog
from mlv.compat.mle_logging.save.stats_log import StatsLog
from mlv.compat.mle_logging.save.wandb_log import WandbLog

__all__ = ["ExtraLog", "FigureLog", "ModelLog", "StatsLog", "WandbLog"]
