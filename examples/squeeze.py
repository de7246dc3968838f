"""Prune the best checkpoint of an experiment by the size of its weights at several rates, and log what each costs.

python examples/squeeze.py runs/<experiment> --rates 0.5 0.7 0.9
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np
from digits_network import Network, Split, load_splits

import mlv


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(description="Prune the best checkpoint of train_digits.py at several rates.")
    parser.add_argument("experiment", type=Path, help="folder of the experiment, such as runs/digits")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.5, 0.7, 0.9], help="fractions of weights to remove")
    return parser.parse_args()


def squeeze(checkpoint: mlv.Checkpoint, rate: float, test_split: Split) -> str:
    """Prune a copy of the network in a sub-experiment of its own; return a row of the table."""
    with mlv.init_sub_exp(checkpoint, "squeeze", params={"rate": rate}) as exp:
        network = Network(checkpoint.load())
        _, before = network.score(test_split)
        sparsity = prune(network, rate)
        _, after = network.score(test_split)
        exp.log({"acc": {"before": before, "after": after}, "sparsity": sparsity})
        with exp.file("pruned.npz", "wb") as file:
            np.savez_compressed(file, **network.weights)
    return f"{rate:4.2f} {sparsity:9.3f} {before:7.4f} {after:7.4f}  {exp.path}"


def prune(network: Network, rate: float) -> float:
    """Set the smallest weights of each layer to zero; return the fraction of all that are zero now."""
    layers = [network.weights["w1"], network.weights["w2"]]
    for weights in layers:
        weights[np.abs(weights) < np.quantile(np.abs(weights), rate)] = 0
    return float(np.mean(np.concatenate([weights.ravel() for weights in layers]) == 0))


def main() -> None:
    """Squeeze the best checkpoint at each rate, and print what came of it."""
    args = parse_arguments()
    _, test_split = load_splits()
    best = mlv.Exp.open(args.experiment).best
    rows = [squeeze(best, rate, test_split) for rate in args.rates]
    print("rate  sparsity  before   after  experiment", *rows, sep="\n")


if __name__ == "__main__":
    main()
