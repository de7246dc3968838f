"""The printed tables and panels of a logger, with rich."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import mlv

WIDTH = 80
_TITLE = (
    r" __  __ _    ___    _    ___   ___  ___ ___ _  _  ___ ",
    r"|  \/  | |  | __|__| |  / _ \ / __|/ __|_ _| \| |/ __|",
    r"| |\/| | |__| _|___| |_| (_) | (_ | (_ || || .` | (_ |",
    r"|_|  |_|____|___|  |____\___/ \___|\___|___|_|\_|\___|",
)


def print_welcome() -> None:
    """Print a blue panel with the name, the time and the version."""
    rich = _Rich()
    grid = rich.Table.grid(expand=True)
    grid.add_column(justify="left", no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    beside = (datetime.now().strftime("%d/%m/%y %H:%M:%S"), f"mlv v{mlv.__version__} :lock_with_ink_pen:", "", "")
    for title_line, detail in zip(_TITLE, beside, strict=True):
        grid.add_row(rich.escape(title_line), detail)
    rich.Console(width=WIDTH).print(rich.Panel(grid, style="white on blue", expand=True))


def print_startup(
    experiment_dir: str,
    config_fname: str | None,
    time_to_track: list[str] | None,
    what_to_track: list[str] | None,
    model_type: str,
    seed_id: str | int,
    use_tboard: bool,  # noqa: ARG001 - as in the original
    reload: bool,  # noqa: ARG001 - as in the original
    print_every_k_updates: int | None,  # noqa: ARG001 - as in the original
    ckpt_time_to_track: str | None,  # noqa: ARG001 - as in the original
    save_every_k_ckpt: int | None,
    save_top_k_ckpt: int | None,
    top_k_metric_name: str | None,  # noqa: ARG001 - as in the original
    top_k_minimize_metric: bool | None,  # noqa: ARG001 - as in the original
) -> None:
    """Print panels with the options of the logger."""
    rich = _Rich()
    times = [name for name in time_to_track or () if name not in ("time", "time_elapsed")]
    rows = [
        (":book: Log Dir", experiment_dir),
        (":page_facing_up: Config", config_fname),
        (":watch: Time", times),
        (":chart_with_downwards_trend: Stats", what_to_track),
        (":seedling: Seed ID", seed_id),
        (":rocket: Model", model_type),
    ]
    if save_every_k_ckpt is not None:
        rows.append((":clock1130: Every k-th ckpt", save_every_k_ckpt))
    if save_top_k_ckpt is not None:
        rows.append((":trident: Top k ckpt", save_top_k_ckpt))
    grid = rich.Table.grid(expand=True)
    grid.add_column(justify="left", ratio=1)
    grid.add_column(justify="left", ratio=1)
    panels = [rich.Panel(f"[b]{title}[/b]: {rich.escape(_listed(value))}", expand=True) for title, value in rows]
    for index in range(0, len(panels), 2):
        grid.add_row(*panels[index : index + 2])
    rich.Console(width=WIDTH).print(rich.Panel(grid, expand=True))


def print_update(
    time_to_print: list[str], what_to_print: list[str], c_tick: Mapping[str, Any], s_tick: Mapping[str, Any], print_header: bool
) -> None:
    """Print a row: time variables in red, statistics rounded to three digits in a column with a blue head."""
    rich = _Rich()
    table = rich.Table(show_header=print_header, row_styles=["none"], border_style="white", box=rich.box.SIMPLE)
    for index, name in enumerate(time_to_print):
        head = f"{'' if index else ':watch: '}[red]{rich.escape(str(name))}[/red]"
        table.add_column(head, style="red", width=12 if index else 14, justify="center" if index else "left")
    for index, name in enumerate(what_to_print):
        head = f"{'' if index else ':chart_with_downwards_trend: '}[blue]{rich.escape(str(name))}[/blue]"
        table.add_column(head, width=12 if index else 14, justify="center")
    times = [str(c_tick.get(name, "---")) for name in time_to_print]
    stats = [_rounded(s_tick[name]) if name in s_tick else "---" for name in what_to_print]
    table.add_row(*map(rich.escape, [*times, *stats]))
    rich.Console(width=WIDTH).print(table, justify="center")


def print_reload(experiment_dir: str) -> None:
    """Print that a log is gone on with."""
    _Rich().Console().log(f"Reloaded log from {experiment_dir}")


def print_overwriting(subject: str) -> None:
    """Print that earlier files are taken away."""
    existing = "existing" if subject == "tboards" else "an existing"
    text = f"Be careful - you are overwriting {existing} {subject}."
    try:
        _Rich().Console().log(text)
    except mlv.MissingExtra:  # nobody asked for rich here
        print(text)


def print_storage(
    fig_path: str | None = None,
    extra_path: str | None = None,
    init_model_path: str | None = None,
    final_model_path: str | None = None,
    every_k_model_path: str | None = None,
    top_k_model_path: str | None = None,
    print_first: bool = False,
) -> None:
    """Print where files went, where there are any; the final model only with the first row."""
    paths = [("Figure", fig_path), ("Extra", extra_path)]
    paths += [("Model", init_model_path), ("Model", final_model_path)] if print_first else []
    paths += [("Every-K", every_k_model_path), ("Top-K", top_k_model_path)]
    rows = [(title, path) for title, path in paths if path is not None]
    if rows:
        rich = _Rich()
        table = rich.Table(show_header=False, row_styles=["none"], border_style="white", box=rich.box.SIMPLE)
        table.add_column("---", style="red", width=16, justify="left")
        table.add_column("---", style="red", width=64, justify="left")
        for title, path in rows:
            table.add_row(f":envelope_with_arrow: - {title}", rich.escape(path))
        rich.Console(width=WIDTH).print(table, justify="left")


class _Rich:
    """The names of rich that are used here.

    Raises:
        MissingExtra: It is not installed.
    """

    def __init__(self) -> None:
        try:
            from rich import box
            from rich.console import Console
            from rich.markup import escape
            from rich.panel import Panel
            from rich.table import Table
        except ImportError as error:
            text = "verbose=True prints with rich: pip install 'mlvlogger[compat]'"
            raise mlv.MissingExtra(text, package="rich", extra="compat") from error
        self.box, self.Console, self.escape, self.Panel, self.Table = box, Console, escape, Panel, Table


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _rounded(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_rounded, value))}]"
    return str(round(value, 3)) if isinstance(value, float) else str(value)
