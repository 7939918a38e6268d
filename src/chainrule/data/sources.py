"""The data sets that the command line knows by name."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass

from chainrule.data.dataset import ImageData
from chainrule.data.digits import load_digits
from chainrule.data.mnist import load_mnist
from chainrule.errors import DataError


@dataclass(frozen=True)
class Frame:
    """How a picture from outside is framed for a set: its side, and the box for the ink."""

    size: int
    box: int


FRAMES = {"digits": Frame(8, 8), "mnist": Frame(28, 20)}
"""The sets by name; each has images of one fixed frame."""


def list_datasets() -> list[str]:
    """List the names that `load_dataset` takes.

    >>> list_datasets()
    ['digits', 'mnist']
    """
    return sorted(FRAMES)


def load_dataset(name: str, folder: str | os.PathLike[str] | None = None) -> ImageData:
    """Load a data set by name; `folder` is where its files are (mnist: data/mnist by default).

    Raises DataError for an unknown name, for a folder for digits, and for files that are missing
    or damaged.

    >>> load_dataset("digits").name
    'digits'
    >>> load_dataset("mnits")
    Traceback (most recent call last):
    chainrule.errors.DataError: no data set is called 'mnits'; did you mean 'mnist'?
    """
    if name == "digits":
        if folder is not None:
            raise DataError(
                f"digits: expected no folder, since scikit-learn brings the images; got {folder}; "
                "leave --data-dir out, or choose the data set that is there with --data"
            )
        return load_digits()
    if name == "mnist":
        return load_mnist(folder or os.path.join("data", "mnist"))
    near = difflib.get_close_matches(name, FRAMES, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(list_datasets())}"
    raise DataError(f"no data set is called {name!r}; {hint}")
