"""Checkpoints of a logger: the last one, the first one, each k-th, and the best k."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlv.compat.mle_logging.checkpoints import save_checkpoint
from mlv.compat.mle_logging.records import plain
from mlv.compat.mle_logging.storage import write_whole
from mlv.compat.room import room_in

MODEL_TYPES = ("torch", "tensorflow", "jax", "sklearn", "numpy", "no-model-type")
_SUFFIXES = {"torch": ".pt", "tensorflow": ".pt", "jax": ".pkl", "sklearn": ".pkl", "numpy": ".pkl"}

ReportModel = Callable[[str, dict[str, Any], int | None], None]
"""Takes the path of a checkpoint, its entries of the logger's meta, and its slot there."""


class ModelLog:
    """Checkpoints in `models/final`, `models/init`, `models/every_k` and `models/top_k`."""

    def __init__(
        self,
        experiment_dir: str,
        seed_id: str,
        model_type: str,
        ckpt_time_to_track: str | None,
        save_every_k_ckpt: int | None,
        save_top_k_ckpt: int | None,
        top_k_metric_name: str | None,
        top_k_minimize_metric: bool | None,
        root: str,
        report: ReportModel,
    ) -> None:
        """Begin, with the arguments of MLELogger.

        Raises:
            AssertionError: The type of the model is not known, or an option that a portfolio needs is missing.
        """
        assert model_type in MODEL_TYPES, f"model_type={model_type!r}: give one of {', '.join(MODEL_TYPES)}"
        if save_every_k_ckpt:
            assert ckpt_time_to_track is not None, "save_every_k_ckpt needs ckpt_time_to_track"
        if save_top_k_ckpt:
            assert ckpt_time_to_track is not None, "save_top_k_ckpt needs ckpt_time_to_track"
            assert top_k_metric_name is not None, "save_top_k_ckpt needs top_k_metric_name"
            assert top_k_minimize_metric is not None, "save_top_k_ckpt needs top_k_minimize_metric"
        self.experiment_dir, self.seed_id, self.model_type = experiment_dir, seed_id, model_type
        self.save_every_k_ckpt, self.save_top_k_ckpt = save_every_k_ckpt, save_top_k_ckpt
        self.ckpt_time_to_track = ckpt_time_to_track
        self.top_k_metric_name, self.top_k_minimize_metric = top_k_metric_name, top_k_minimize_metric
        self.model_fname_ext = _SUFFIXES.get(model_type, "")
        self.ckpt_dir = os.path.join(experiment_dir, "models/")
        self.final_model_save_fname = self._path("final", f"final_{seed_id}")
        self.init_model_save_fname = self._path("init", f"init_{seed_id}")
        self.model_save_counter = 0
        self.init_model_saved = self.stored_every_k = self.stored_top_k = False
        self.every_k_ckpt_list: list[str] = []
        self.every_k_storage_time: list[Any] = []
        self.top_k_ckpt_list: list[str] = []
        self.top_k_storage_time: list[Any] = []
        self.top_k_performance: list[float] = []
        self._root, self._report = root, report
        self._last_top_k = ""

    def restore(self, meta: Mapping[str, list[Any]], saved: int) -> None:
        """Go on from the meta of an earlier run, after `saved` models."""
        for name in ("every_k_ckpt_list", "every_k_storage_time", "top_k_ckpt_list", "top_k_storage_time", "top_k_performance"):
            setattr(self, name, list(meta.get(name, [])))
        self.init_model_saved = bool(meta.get("init_ckpt"))
        numbers = [_count_in(path, self.model_fname_ext) for path in self.every_k_ckpt_list]
        self.model_save_counter = max([saved, *numbers])

    def save(self, model: Any, clock: Mapping[str, list[Any]], stats: Mapping[str, list[Any]]) -> None:
        """Save a model as the final one, and where it is due in the portfolios.

        Raises:
            ValueError: The logger was made without a model type.
        """
        self.stored_every_k = self.stored_top_k = False
        self._write(model, self.final_model_save_fname)
        self.model_save_counter += 1
        self._report(self.final_model_save_fname, {"model_ckpt": [self.final_model_save_fname]}, None)
        if self.save_every_k_ckpt and self.model_save_counter % self.save_every_k_ckpt == 0:
            self._save_every_k(model, _last(clock, self.ckpt_time_to_track))
        if self.save_top_k_ckpt:
            score = number_or_nan(_last(stats, self.top_k_metric_name))
            self._save_top_k(model, _last(clock, self.ckpt_time_to_track), score)

    def save_init_model(self, model: Any) -> None:
        """Save a model as the one that training began with."""
        self._write(model, self.init_model_save_fname)
        self.init_model_saved = True
        self._report(self.init_model_save_fname, {"init_ckpt": [self.init_model_save_fname]}, None)

    @property
    def last_top_k(self) -> str:
        """The path at which the latest of the best was stored."""
        return self._last_top_k

    def _save_every_k(self, model: Any, time: Any) -> None:
        path = self._path("every_k", f"every_k_{self.seed_id}_k_{self.model_save_counter}")
        self._write(model, path)
        self.every_k_storage_time.append(time)
        self.every_k_ckpt_list.append(path)
        slot = len(self.every_k_ckpt_list) - 1
        self._report(path, {"every_k_ckpt_list": path, "every_k_storage_time": time}, slot)
        self.stored_every_k = True

    def _save_top_k(self, model: Any, time: Any, score: float) -> None:
        slot = slot_for(score, self.top_k_performance, int(self.save_top_k_ckpt or 0), bool(self.top_k_minimize_metric))
        if slot is None:
            return
        path = self._path("top_k", f"top_k_{self.seed_id}_top_{slot}")
        self._write(model, path)
        lists: tuple[list[Any], ...] = (self.top_k_ckpt_list, self.top_k_storage_time, self.top_k_performance)
        for values, value in zip(lists, (path, time, score), strict=True):
            values[slot : slot + 1] = [value]
        self._report(path, {"top_k_ckpt_list": path, "top_k_storage_time": time, "top_k_performance": score}, slot)
        self.stored_top_k, self._last_top_k = True, path

    def _path(self, room: str, name: str) -> str:
        return os.path.join(self.ckpt_dir, room, name + self.model_fname_ext)

    def _write(self, model: Any, path: str) -> None:
        if not self.model_fname_ext:
            raise ValueError("Provide valid model_type [torch, jax, sklearn, numpy].")
        room = room_in(Path(self._root, self.experiment_dir))
        write_whole(os.path.join(self._root, path), lambda private: save_checkpoint(model, private, self.model_type), room)


def slot_for(score: float, scores: list[float], count: int, is_minimum_best: bool) -> int | None:
    """Return the slot of a score among the best: a free one, else that of the worst if it is better; None where it is not.

    NaN is worse than any number.
    """
    if len(scores) < count:
        return len(scores)
    keys = [_badness(existing, is_minimum_best) for existing in scores]
    worst = max(keys)
    return keys.index(worst) if worst > _badness(score, is_minimum_best) else None


def _badness(score: float, is_minimum_best: bool) -> tuple[bool, float]:
    score = number_or_nan(score)
    return (True, 0.0) if math.isnan(score) else (False, score if is_minimum_best else -score)


def number_or_nan(value: Any) -> float:
    """Return a measured value as one number."""
    number = plain(value)
    return float(number) if isinstance(number, (int, float)) else math.nan


def _last(columns: Mapping[str, list[Any]], name: str | None) -> Any:
    values = columns.get(name or "")
    return values[-1] if values else math.nan


def _count_in(path: str, suffix: str) -> int:
    text = path.removesuffix(suffix).rpartition("_k_")[2]
    return int(text) if text.isdecimal() else 0
