"""The output of a logger with `verbose=True`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlv.compat.mle_logging.utils import comms


def show_start(logger: Any, time_to_track: list[str], what_to_track: list[str], seed_id: str | int, reload: bool) -> None:
    """Print the options of a logger, or that it goes on."""
    if reload:
        comms.print_reload(logger.experiment_dir)
        return
    models = logger.model_log
    comms.print_welcome()
    comms.print_startup(
        logger.experiment_dir, logger.config_fname, time_to_track, what_to_track, models.model_type, seed_id,
        logger.use_tboard, reload, logger.print_every_k_updates, models.ckpt_time_to_track, models.save_every_k_ckpt,
        models.save_top_k_ckpt, models.top_k_metric_name, models.top_k_minimize_metric,
    )  # fmt: skip


def is_due(logger: Any) -> bool:
    """Return whether the latest update is to be printed: the first, and each k-th."""
    count, every = logger.stats_log.stats_update_counter, logger.print_every_k_updates
    return every is not None and (count % every == 0 or count == 1)


def show_row(
    logger: Any, clock: Mapping[str, Any], stats: Mapping[str, Any], has_model: bool, has_figure: bool, has_extra: bool
) -> None:
    """Print an update, and where its files went; the head of the table only once."""
    models, is_first = logger.model_log, logger.print_counter == 0
    comms.print_storage(
        fig_path=logger.figure_log.paths[-1] if has_figure else None,
        extra_path=logger.extra_log.paths[-1] if has_extra else None,
        init_model_path=models.init_model_save_fname if has_model and models.init_model_saved else None,
        final_model_path=models.final_model_save_fname if has_model else None,
        every_k_model_path=models.every_k_ckpt_list[-1] if has_model and models.stored_every_k else None,
        top_k_model_path=models.last_top_k if has_model and models.stored_top_k else None,
        print_first=is_first,
    )
    time_names = logger.stats_log.time_to_track if logger.time_to_print is None else logger.time_to_print
    stats_names = logger.stats_log.what_to_track if logger.what_to_print is None else logger.what_to_print
    comms.print_update(time_names, stats_names, clock, stats, is_first)
    logger.print_counter += 1
