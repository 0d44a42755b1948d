"""Two small networks for digits, MNIST and CIFAR, to be trained by the hundred.

In the flow: benchmarks and how-tos learn them by :mod:`mechanisms.networks.training`.
"""

from __future__ import annotations

from torch import nn

from mechanisms.errors import require


def small_cnn(*, channels: int = 1, side: int = 8, classes: int = 10, width: int = 8) -> nn.Module:
    """Return a convolutional network with fresh weights: two layers, each halved by pooling, and a linear one.

    Parameters
    ----------
    channels, side
        Of the images, which are square: 1 and 8 for digits, 1 and 28 for MNIST, 3 and 32 for CIFAR.
    classes
        Outputs, at least 2.
    width
        Filters of the first layer; the second has twice as many.

    Raises
    ------
    InvalidInputError
        For a size out of range.
    """
    _check(channels=(channels, 1), side=(side, 4), classes=(classes, 2), width=(width, 1))
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * width * (side // 4) ** 2, classes),
    )


def small_mlp(*, inputs: int = 64, classes: int = 10, hidden: int = 32) -> nn.Module:
    """Return a network with fresh weights and one hidden layer of rectified units; images are flattened.

    Parameters
    ----------
    inputs
        Numbers of a record: 64 for digits, 784 for MNIST, 3072 for CIFAR.
    classes
        Outputs, at least 2.
    hidden
        Units of the hidden layer.

    Raises
    ------
    InvalidInputError
        For a size out of range.
    """
    _check(inputs=(inputs, 1), classes=(classes, 2), hidden=(hidden, 1))
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, classes))


def _check(**sizes: tuple[int, int]) -> None:
    for name, (size, least) in sizes.items():
        holds = isinstance(size, int) and size >= least
        require(holds, name, expected=f"a whole number of at least {least}", got=size, fix="count it in the data")
