"""What was measured and simulated as Markdown tables, and as figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measuring import quantile
from benchmarks.simulation.builders import Exploration
from benchmarks.simulation.designs import Design
from benchmarks.simulation.simulate import Outcome

_FUNCTIONS = {
    "put_s": "PUT, by bytes",
    "get_s": "GET, by bytes",
    "list_s": "LIST, by keys of a page",
    "gzip_bytes": "gzip level 6: bytes of so many raw ones",
    "gzip_s": "gzip level 6, by raw bytes",
    "parse_s": "lines to columns by mlv, by events",
    "commit_s": "append to a Delta table on a disk, by rows",
    "commit_version_s": "append of 10 rows, by versions of the table",
    "merge_s": "merge of 1,000 rows, by rows of the table",
    "commit_trips": "append of 1,000 rows to a bucket, by ms of latency",
}


def of_costs(data: Mapping[str, Any]) -> str:
    """The fitted functions, each with its errors."""
    rows = []
    for name, title in _FUNCTIONS.items():
        fits = {"": data[name]} if "form" in data[name] else {f", {ms} ms away": fit for ms, fit in data[name].items()}
        for where, fit in fits.items():
            sign = f"{fit['a']:.3g} + {fit['b']:.3g} x" if fit["form"] == "line" else f"{fit['a']:.3g} x^{fit['b']:.3g}"
            checked = f"{fit['check_error']:+.0%} at {fit['checked_at']:,.0f}"
            rows.append((title + where, sign, f"{fit['low']:,.0f} to {fit['high']:,.0f}", f"{fit['error']:.0%}", checked))
    return _table("Costs", ("operation", "seconds (or bytes)", "fitted on", "error there", "error beyond"), rows)


def of_outcome(outcome: Outcome) -> str:
    """One row for each design."""
    hours, days = outcome.run_hours, outcome.makespan_s / 86400
    rows = []
    for design in outcome.designs:
        totals, runs = design.totals, max(1, design.ended_runs)
        rows.append(
            (
                design.title,
                *(f"{quantile(totals.lost_s, q):,.1f}" for q in (0.5, 0.99)),
                f"{max(totals.lost_s):,.0f}",
                _short(totals.puts + totals.lists),
                _short(totals.bytes_up / 1e12),
                _short(totals.dollars()),
                f"{totals.dollars() / hours * 1000:,.2f}",
                f"{sum(totals.objects_read) / len(totals.objects_read):,.0f}",
                f"{quantile(totals.stale_s, 0.5):,.0f}; {quantile(totals.stale_s, 0.99):,.0f}",
                f"{_short(totals.list_requests)}; {_short(totals.list_s)}",
            )
        )
        assert runs == outcome.runs
    header = (
        "design", "s lost, median", "99 %", "most", "PUTs and LISTs", "TB up", "dollars", "dollars per 1,000 run hours",
        "objects read of a run", "s stale: median; 99 %", "to list all: requests; s",
    )  # fmt: skip
    title = (
        f"{outcome.runs:,} runs, {outcome.events:.3g} events, {hours:,.0f} run hours in {days:.1f} days; {outcome.kills:,} of "
        f"{outcome.attempts:,} attempts killed; simulated in {outcome.spent_s:.0f} s"
    )
    return _table(title, header, rows)


def of_ablations(outcome: Outcome, names: Sequence[str]) -> str:
    """mlv's design without one of its means."""
    rows = []
    for name, design in zip(names, outcome.designs, strict=True):
        totals = design.totals
        rows.append(
            (
                name,
                f"{quantile(totals.lost_s, 0.5):.1f}; {quantile(totals.lost_s, 0.99):.1f}",
                f"{totals.puts / outcome.run_hours:,.0f}",
                f"{sum(totals.objects_read) / len(totals.objects_read):,.0f}",
                f"{totals.lists / outcome.run_hours:.2f}",
                f"{totals.dollars() / outcome.run_hours * 1000:.2f}",
                f"{totals.doubled_rows:,.0f}",
                f"{quantile(totals.stale_s, 0.5):,.0f}",
            )
        )
    header = (
        "variant", "s lost: median; 99 %", "PUTs a run hour", "objects read of a run", "LISTs a run hour",
        "dollars per 1,000 run hours", "rows doubled", "s stale, median",
    )  # fmt: skip
    return _table(f"Ablations, {outcome.runs:,} runs", header, rows)


def of_growth(outcomes: Sequence[Outcome], at_once: Sequence[int]) -> str:
    """How costs grow with the laboratory."""
    rows = []
    for number, design in enumerate(outcomes[0].designs):
        rows.append((design.title, *(f"{value:,.2f}" for value in _dollars(outcomes, number))))
    return _table("Dollars per 1,000 run hours", ("design", *(f"{count:,} runs at once" for count in at_once)), rows)


def _dollars(outcomes: Sequence[Outcome], number: int) -> list[float]:
    return [each.designs[number].totals.dollars() / each.run_hours * 1000 for each in outcomes]


def of_validation(results: Iterable[Mapping[str, Any]]) -> str:
    """What was predicted beside what came."""
    rows = [
        (
            f"{result['runs']:,}",
            result["what"],
            _short(result["simulated"]),
            _short(result["real"]),
            f"{result['simulated'] / result['real'] - 1:+.0%}" if result["real"] else "",
        )
        for result in results
    ]
    return _table("Validation", ("runs", "quantity", "simulated", "real", "difference"), rows)


def of_builders(explorations: Iterable[Exploration]) -> str:
    """What two builders can do."""
    rows = [
        (
            each.variant,
            f"{each.states:,}",
            "never" if each.doubled is None else f"after {len(each.doubled)} steps",
            "never" if each.missing is None else f"after {len(each.missing)} steps",
            f"{each.stuck:,}",
        )
        for each in explorations
    ]
    return _table(
        "Two builders, a crash after any step", ("variant", "states", "a row doubled", "a row missing", "stuck"), rows
    )


def of_table(result: Mapping[str, Any]) -> str:
    """What the table of all experiments takes."""
    rows = [
        (f"writing {result['rows']:,} rows", f"{result['write_s']:.1f} s"),
        ("compacting them", f"{result['compact_s']:.1f} s"),
        (f"size, in {result['files']} files", f"{result['bytes'] / 1e6:.0f} MB"),
        *((f"query: {question}", f"{1000 * spent:.0f} ms") for question, spent in result["queries_s"].items()),
    ]
    return _table("The table of experiments", ("", ""), rows)


def draw(outcome: Outcome, growth: Sequence[Outcome], at_once: Sequence[int], into: Path) -> None:
    """Draw what is lost, and what it costs, into SVG files."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams |= {"svg.hashsalt": "mlv", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    into.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
    for design in outcome.designs:
        axes.plot(*_distribution(design), label=design.title)
    axes.set(xscale="log", xlabel="seconds lost when a host vanishes", ylabel="share of kills", xlim=(0.05, 3000))
    axes.legend(frameon=False)
    figure.savefig(into / "simulated_loss.svg", metadata={"Date": None})
    figure, axes = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
    for number, design in enumerate(outcome.designs):
        axes.plot(at_once, _dollars(growth, number), marker="o", label=design.title)
    axes.set(xscale="log", yscale="log", xlabel="runs at once", ylabel="dollars per 1,000 run hours")
    axes.legend(frameon=False)
    figure.savefig(into / "simulated_costs.svg", metadata={"Date": None})
    plt.close("all")


def _distribution(design: Design, points: int = 120) -> tuple[list[float], list[float]]:
    shares = [number / (points - 1) for number in range(points)]
    ordered = sorted(design.totals.lost_s)
    return [max(0.01, ordered[min(len(ordered) - 1, int(share * len(ordered)))]) for share in shares], shares


def _table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"\n## {title}\n", f"| {' | '.join(header)} |", f"|{'|'.join(' --- ' for _ in header)}|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _short(value: float) -> str:
    for bound, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= bound:
            return f"{value / bound:.3g}{unit}"
    return f"{value:.3g}"
