"""A small network that reads handwritten digits: two layers and a softmax, in plain numpy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Images, a row of 64 grey values from 0 to 1 each, and the digits that they show."""

    images: Array
    digits: Labels


def load_splits() -> tuple[Split, Split]:
    """The 1,797 images that come with scikit-learn: three quarters to train on, one to test on, always the same."""
    images, digits = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(images / 16, digits, random_state=0, stratify=digits)
    return Split(train_x, train_y), Split(test_x, test_y)


class Network:
    """64 inputs, one hidden layer of rectified linear units, ten outputs."""

    def __init__(self, weights: dict[str, Array]) -> None:
        self.weights = weights
        self._velocity = {name: np.zeros_like(value) for name, value in weights.items()}

    @classmethod
    def fresh(cls, hidden: int, rng: np.random.Generator) -> Network:
        """A network that knows nothing yet (He initialization)."""
        return cls(
            {
                "w1": rng.normal(0, np.sqrt(2 / 64), (64, hidden)),
                "b1": np.zeros(hidden),
                "w2": rng.normal(0, np.sqrt(2 / hidden), (hidden, 10)),
                "b2": np.zeros(10),
            }
        )

    def guess(self, images: Array) -> Labels:
        """The most likely digit of each image."""
        return self._forward(images)[1].argmax(axis=1)

    def confidence(self, split: Split) -> Array:
        """The probability that the true digit of each image gets."""
        _, odds = self._forward(split.images)
        return odds[np.arange(len(odds)), split.digits]

    def score(self, split: Split) -> tuple[float, float]:
        """Mean cross-entropy in nats, and the fraction of digits that are guessed right."""
        loss = -np.log(self.confidence(split) + 1e-12).mean()
        return float(loss), float((self.guess(split.images) == split.digits).mean())

    def train(self, split: Split, lr: float, momentum: float, batch_size: int, rng: np.random.Generator) -> None:
        """Go once through all images in a random order, by stochastic gradient descent with momentum."""
        for images, digits in _batches(split, batch_size, rng):
            for name, gradient in self._gradients(images, digits).items():
                self._velocity[name] = momentum * self._velocity[name] - lr * gradient
                self.weights[name] += self._velocity[name]

    def _forward(self, images: Array) -> tuple[Array, Array]:
        hidden = np.maximum(images @ self.weights["w1"] + self.weights["b1"], 0)
        logits = hidden @ self.weights["w2"] + self.weights["b2"]
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return hidden, odds / odds.sum(axis=1, keepdims=True)

    def _gradients(self, images: Array, digits: Labels) -> dict[str, Array]:
        hidden, odds = self._forward(images)
        error = (odds - np.eye(10)[digits]) / len(digits)
        below = error @ self.weights["w2"].T * (hidden > 0)
        return {"w1": images.T @ below, "b1": below.sum(axis=0), "w2": hidden.T @ error, "b2": error.sum(axis=0)}


def _batches(split: Split, size: int, rng: np.random.Generator) -> Iterator[tuple[Array, Labels]]:
    order = rng.permutation(len(split.digits))
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        yield split.images[batch], split.digits[batch]
