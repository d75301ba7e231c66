"""What a linear classifier reads off the rendered pixels: how much of the classes the networks' functions hold."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neural_graphs.errors import ZooError
from neural_graphs.zoo import Zoo

CHUNK = 512  # networks rendered at a time


def pixel_probe(zoo: str | Path | Zoo, iterations: int = 200) -> dict[str, Any]:
    """Test accuracy of a logistic regression on rendered pixels, trained on the train split.

    It sees what the networks compute, not their parameters: a reference point, not a competitor. Raises ZooError where
    the networks are no implicit images.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    zoo = zoo if isinstance(zoo, Zoo) else Zoo(zoo)
    train, test = zoo.split("train"), zoo.split("test")
    probe = LogisticRegression(max_iter=iterations, tol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # more iterations only overfit
        probe.fit(rendered(train), train.labels.numpy())
    right = probe.predict(rendered(test)) == test.labels.numpy()
    return {"zoo": str(zoo.path), "split": "test", "networks": len(test), "accuracy": round(float(right.mean()), 6)}


def rendered(zoo: Zoo) -> NDArray[np.float32]:
    """The pixels that all networks of a zoo draw, clipped to [0, 1], `(networks, pixels)`."""
    if zoo.canvas is None:
        raise ZooError(f"{zoo.path} holds no implicit images: there are no pixels to read")
    chunks = np.array_split(np.arange(len(zoo)), -(-len(zoo) // CHUNK))
    return np.concatenate([zoo.canvas.render(zoo.networks(chunk)) for chunk in chunks]).reshape(len(zoo), -1).clip(0, 1)
