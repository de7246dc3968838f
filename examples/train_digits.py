"""Train a small network on real handwritten digits, and log everything that happens.

python examples/train_digits.py --epochs 20 --lr 0.05
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

import numpy as np
from digits_network import Network, load_splits
from rich.console import Console
from rich.progress import track
from sklearn.metrics import confusion_matrix

import mlv


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


def main() -> None:
    """Train, test after every epoch, and keep the network that comes out."""
    args = parse_arguments()
    train_split, test_split = load_splits()
    rng = np.random.default_rng(args.seed)
    network = Network.fresh(args.hidden, rng)

    with mlv.exp_from_args(args) as exp:
        train, test = exp.log.sub("train"), exp.log.sub("test")
        for log in (train, test):
            log.describe("loss", unit="nat", format=".4f", mode="min")
            log.describe("acc", format=".2%", mode="max")

        terminal = Console(stderr=True)
        for epoch in track(range(args.epochs), "training", console=terminal, disable=not terminal.is_terminal):
            network.train(train_split, args.lr, args.momentum, args.batch_size, rng)
            loss, acc = network.score(train_split)
            train({"loss": loss, "acc": acc}, step=epoch)
            with test.span("validation", step=epoch) as span:
                loss, acc = network.score(test_split)
                span.add(images=len(test_split.digits))
            test({"loss": loss, "acc": acc}, step=epoch)

        table = confusion_matrix(test_split.digits, network.guess(test_split.images))
        test("confusion", {"rows": "digit shown", "columns": "digit guessed", "counts": table})
        checkpoint = exp.path / "model.npz"
        network.save(checkpoint)
        exp.log("checkpointed", {"path": checkpoint.name, "acc": acc})

    print(f"accuracy {acc:.4f} on {len(test_split.digits)} test images; checkpoint: {checkpoint}")


if __name__ == "__main__":
    main()
