"""Train networks at several learning rates, each from several seeds, and draw their test loss with a band over the seeds.

python examples/sweep_digits.py --out docs/pictures/digits.png

Drawing needs `pip install "mlvlogger[plot]"`. The picture of the front page was made so.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

import matplotlib as mpl
import numpy as np
from digits_network import Network, load_splits

import mlv

RATES = (0.003, 0.01, 0.1)
MOMENTUM = 0.9
BATCH_SIZE = 32
HIDDEN = 64


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(description="Sweep learning rates and seeds on scikit-learn's digits.")
    parser.add_argument("--root", type=Path, default=Path("sweep"), help="folder for the experiments (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=20, help="passes over the training images (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="networks for each rate (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("digits.png"), help="the picture (default: %(default)s)")
    return parser.parse_args()


def train(root: Path, lr: float, seed: int, epochs: int) -> None:
    """Train one network; its experiment is named for its learning rate and its seed."""
    train_split, test_split = load_splits()
    rng = np.random.default_rng(seed)
    network = Network.fresh(HIDDEN, rng)
    with mlv.Exp(root, f"lr{lr}-seed{seed}", {"lr": lr, "seed": seed, "hidden": HIDDEN}) as exp:
        test = exp.log.sub("test")
        test.describe("loss", unit="nat", format=".4f", mode="min")
        for epoch in range(epochs):
            network.train(train_split, lr, MOMENTUM, BATCH_SIZE, rng)
            loss, acc = network.score(test_split)
            test({"loss": loss, "acc": acc}, step=epoch)


def main() -> None:
    """Train them all, draw them, and print which learning rate is the best."""
    mpl.use("Agg")  # no window
    args = parse_arguments()
    for lr in RATES:
        for seed in range(args.seeds):
            train(args.root, lr, seed, args.epochs)

    trained = mlv.find(args.root)
    axes = trained.plot("test/loss", by="lr", log="y", band="min-max")
    axes.figure.set_size_inches(7, 3.5)
    axes.figure.savefig(args.out, dpi=100, bbox_inches="tight")
    table = trained.aggregate(over="seed", metrics="test/acc", x=None, stats="mean").sort_values("mean")
    best = table.iloc[-1]
    print(f"lr {best['params.lr']}: accuracy {best['mean']:.4f}, the mean of {best['count']} seeds")


if __name__ == "__main__":
    main()
