"""The command line of the simulation: it prints the tables of `docs/reference/simulation.md`, and draws its figures."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.simulation import builders, costs, report, table
from benchmarks.simulation.simulate import ablations, five_designs, simulate
from benchmarks.simulation.trace import Trace

ABLATED = 100_000
RUNS_A_SLOT = 10
_STEPS = ("measure", "validate", "builders", "table", "simulate")


def main() -> int:
    options = _options()
    steps = options.only or [step for step in _STEPS if step != "measure"]
    quick = options.quick
    if "measure" in steps:
        from benchmarks.__main__ import machine

        measured = costs.measure(quick, machine())
        costs.FILE.write_text(json.dumps(measured, indent=1) + "\n")
    if "measure" in steps or options.only is None:
        print(report.of_costs(json.loads(costs.FILE.read_text())))
    if "validate" in steps:
        from benchmarks.simulation import validation

        print(report.of_validation(validation.validate(quick)))
    if "builders" in steps:
        print(report.of_builders([builders.explore(variant, rows=2 if quick else 3) for variant in builders.VARIANTS]))
    if "table" in steps:
        print(report.of_table(table.build(100_000 if quick else 1_000_000)))
    if "simulate" in steps:
        _simulate(options.runs or (20_000 if quick else 1_000_000), options.figures)
    return 0


def _simulate(count: int, figures: Path | None) -> None:
    trace, fitted = Trace(), costs.Costs.load()
    outcome = simulate(trace, count, five_designs(trace, count, fitted))
    print(report.of_outcome(outcome), flush=True)
    changed = {name: make() for name, make in ablations(trace, fitted).items()}
    few = min(count, ABLATED)
    print(report.of_ablations(simulate(trace, few, list(changed.values())), list(changed)), flush=True)
    laboratories = [replace(trace, hosts=hosts) for hosts in (1, 5, 50, 500)]
    sizes = [min(count, RUNS_A_SLOT * each.hosts * each.slots) for each in laboratories]
    growth = [simulate(each, size, five_designs(each, size, fitted)) for each, size in zip(laboratories, sizes, strict=True)]
    print(report.of_growth(growth, [each.hosts * each.slots for each in laboratories]))
    if figures:
        report.draw(outcome, growth, [each.hosts * each.slots for each in laboratories], figures)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs and repetitions: a look, no measurement")
    parser.add_argument(
        "--only", action="append", choices=_STEPS, help="a step; all but `measure`, which replaces costs.json, if not given"
    )
    parser.add_argument("--runs", type=int, metavar="N", help="simulate so many runs")
    parser.add_argument("--figures", type=Path, metavar="FOLDER", help="draw the figures into it")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
