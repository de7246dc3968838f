"""Train a small network on real handwritten digits, log everything that happens, and keep the best three checkpoints.

python examples/train_digits.py --epochs 20 --lr 0.05
"""

from __future__ import annotations

import shlex
import sys
from argparse import ArgumentParser, Namespace

import matplotlib.pyplot as plt
import numpy as np
from digits_network import Network, Split, load_splits
from rich.console import Console
from rich.progress import track
from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

import mlv

HARDEST = 10
"""How many test images are logged."""
DETAILS_EVERY = 5
"""Epochs from one set of them to the next."""


def parse_arguments() -> Namespace:
    """Read the command line."""
    parser = ArgumentParser(description="Train a small network on scikit-learn's digits.")
    parser.add_argument("--epochs", type=int, default=20, help="passes over the training images (default: %(default)s)")
    parser.add_argument("--hidden", type=int, default=64, help="size of the hidden layer (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=0.05, help="learning rate (default: %(default)s)")
    parser.add_argument("--momentum", type=float, default=0.9, help="of the gradient descent (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=32, help="images per step (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the order of images (default: %(default)s)")
    mlv.add_arguments_to(parser)
    return parser.parse_args()


def log_details(log: mlv.Logger, network: Network, split: Split, step: int) -> None:
    """Log the images that the network finds hardest, with what it takes them for, and how its weights are spread."""
    hardest = network.confidence(split).argsort()[:HARDEST]
    images, digits = split.images[hardest], split.digits[hardest]
    pictures = images.reshape(-1, 8, 8).repeat(8, axis=1).repeat(8, axis=2)
    captions = [f"{digit}, said {guess}" for digit, guess in zip(digits, network.guess(images), strict=True)]
    log.images("test/hardest", pictures, captions=captions, step=step)
    for name in ("w1", "w2"):
        log.histogram(f"weights/{name}", network.weights[name], step=step)


def log_confusion(log: mlv.Logger, network: Network, split: Split) -> None:
    """Log which digits are taken for which: the counts, and a figure of them."""
    counts = confusion_matrix(split.digits, network.guess(split.images))
    log("test/confusion", {"rows": "digit shown", "columns": "digit guessed", "counts": counts})
    figure, axes = plt.subplots(figsize=(5, 5), layout="constrained")
    # On a linear scale, few mistakes look like none.
    ConfusionMatrixDisplay(counts).plot(ax=axes, cmap="Blues", colorbar=False, im_kw={"norm": "symlog"})
    axes.set(xlabel="digit guessed", ylabel="digit shown", title=f"{counts.trace()} of {counts.sum()} right")
    log.figure("test/confusion", figure, close=True)


def main() -> None:
    """Train, test and save a checkpoint after every epoch; say which one is the best."""
    args = parse_arguments()
    train_split, test_split = load_splits()
    rng = np.random.default_rng(args.seed)
    network = Network.fresh(args.hidden, rng)

    with mlv.exp_from_args(args) as exp:
        train, test = exp.log.sub("train"), exp.log.sub("test")
        for log in (train, test):
            log.describe("loss", unit="nat", format=".4f", mode="min")
            log.describe("acc", format=".2%", mode="max")
        checkpoints = exp.checkpoints(top=3, metric="test/loss", mode="min", latest=1)

        terminal = Console(stderr=True)
        for epoch in track(range(args.epochs), "training", console=terminal, disable=not terminal.is_terminal):
            network.train(train_split, args.lr, args.momentum, args.batch_size, rng)
            loss, acc = network.score(train_split)
            train({"loss": loss, "acc": acc}, step=epoch)
            with test.span("validation", step=epoch) as span:
                loss, acc = network.score(test_split)
                span.add(images=len(test_split.digits))
            test({"loss": loss, "acc": acc}, step=epoch)
            checkpoints.save(network.weights, step=epoch, metrics={"test/loss": loss, "test/acc": acc})
            if epoch % DETAILS_EVERY == 0 or epoch == args.epochs - 1:
                log_details(exp.log, network, test_split, epoch)
        best = checkpoints.best
        log_confusion(exp.log, Network(best.load()), test_split)

    print(f"accuracy {best.metrics['test/acc']:.4f} on {len(test_split.digits)} test images; best checkpoint: {best.path}")
    print("look at it:", shlex.join([sys.executable, "-m", "mlv", "ui", str(exp.path.parent)]))


if __name__ == "__main__":
    main()
