"""The handwritten digits that come with scikit-learn: real images without a download."""

from __future__ import annotations

import importlib

import numpy as np

from chainrule.data.dataset import ArrayDataset, ImageData
from chainrule.engine.op import Array
from chainrule.errors import DataError

_SPLIT_SEED = 0
_TEST_SHARE = 5  # one image in five is for the test


def load_digits() -> ImageData:
    """Load 1,797 digits of 8x8 pixels in 17 grey levels: 1,438 to train on, 359 to test.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI (1998), its
    test part, as `sklearn.datasets.load_digits` has it.  White ink (16) on black (0).  Images are
    bytes, (N, 1, 8, 8).

    The split is always the same and has nothing to do with a training's seed: within each class
    the images are shuffled by `numpy.random.RandomState(0)`, whose stream is frozen for good, and
    the first fifth is the test part.  Raises DataError where scikit-learn is missing.

    >>> data = load_digits()
    >>> len(data.train), len(data.test), data.train.images.shape
    (1438, 359, (1438, 1, 8, 8))
    """
    try:
        datasets = importlib.import_module("sklearn.datasets")
    except ModuleNotFoundError as error:
        raise DataError(
            "digits: the images come with scikit-learn, which is not installed; "
            "pip install chainrule[demo]"
        ) from error
    bunch = datasets.load_digits()
    images = np.asarray(bunch.images).astype(np.uint8)[:, np.newaxis]
    labels = np.asarray(bunch.target).astype(np.int64)
    chosen = _stratified(labels)
    train = ArrayDataset(images[~chosen], labels[~chosen], 10, "train")
    test = ArrayDataset(images[chosen], labels[chosen], 10, "test")
    return ImageData("digits", train, test, tuple(str(digit) for digit in range(10)), 16.0)


def _stratified(labels: Array) -> Array:
    """Mark one in five of every class, shuffled, as test images."""
    shuffle = np.random.RandomState(_SPLIT_SEED)  # Generator streams may change between versions
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        count = round(len(places) / _TEST_SHARE)
        chosen[shuffle.permutation(places)[:count]] = True
    return chosen
