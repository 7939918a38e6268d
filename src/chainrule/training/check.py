"""Before training: do the shapes fit, does the loss begin where it should, can one batch be learnt?

After the habits that are taught for finding mistakes early: a network that knows nothing gives each
of C classes the same probability, so that its cross-entropy is near ln C; and one that is wired
rightly can learn a few images by heart.  Each finding is a sentence.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from chainrule.data.dataset import Dataset
from chainrule.data.transforms import Compose, stacked
from chainrule.engine.op import Array
from chainrule.engine.random import Generator, default_generator
from chainrule.engine.state import no_grad
from chainrule.engine.tensor import as_tensor
from chainrule.errors import ChainruleError
from chainrule.nn.module import Module
from chainrule.optim import Adam
from chainrule.training.objective import Objective, main_scores
from chainrule.training.pipeline import readable

_FEW, _STEPS, _LEARNT = 16, 300, 0.1


@dataclass(frozen=True)
class Finding:
    """What one check found: its name, whether all is well, and a sentence."""

    name: str
    ok: bool
    text: str


def check_network(
    model: Module,
    dataset: Dataset,
    transforms: Compose,
    objective: Objective | None = None,
    overfit: bool = False,
    seconds: float = 60.0,
    skip_bad: bool = False,
) -> list[Finding]:
    """Check a network against its data: shapes, the first loss, and with `overfit` one batch.

    The network, its statistics and the global generator are afterwards as they were.  What comes
    after a check that failed is left out.  Learning by heart ends after 300 steps or `seconds`.

    >>> import numpy as np, chainrule as cr
    >>> from chainrule.data import ArrayDataset
    >>> from chainrule.data.transforms import ToFloat
    >>> data = ArrayDataset(np.eye(4, dtype=np.uint8).reshape(4, 1, 2, 2) * 255, [0, 1, 2, 3])
    >>> _ = cr.manual_seed(0)
    >>> hidden = (cr.nn.Linear(4, 64), cr.nn.ReLU(), cr.nn.Linear(64, 4))
    >>> model = cr.nn.Sequential(cr.nn.Flatten(), *hidden)
    >>> [finding.ok for finding in check_network(model, data, Compose([ToFloat()]), overfit=True)]
    [True, True, True]
    """
    objective = objective or Objective(dataset.task)
    x, y = _batch(dataset, transforms, 64, skip_bad)
    with _as_before(model):
        found = [_shapes(model, dataset, x[:2])]
        if found[-1].ok:
            found.append(_first_loss(model, dataset, x, y, objective))
        if found[-1].ok and overfit:
            few = slice(0, None, max(1, len(x) // _FEW))
            found.append(_by_heart(model, x[few], y[few], objective, seconds))
    return found


def _batch(
    dataset: Dataset, transforms: Compose, count: int, skip_bad: bool
) -> tuple[Array, Array]:
    """Take images at an even stride, prepared without chance."""
    numbers = np.unique(np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int))
    images, targets = readable(dataset, numbers, skip_bad)
    return stacked(transforms.eval()(images, Generator(0))), targets


def _shapes(model: Module, dataset: Dataset, x: Array) -> Finding:
    shape = " x ".join(map(str, x.shape[1:]))
    try:
        with no_grad():
            scores = main_scores(model.eval()(as_tensor(x)))
    except ChainruleError as error:
        return Finding("shapes", False, f"images of {shape} do not pass through it: {error}")
    wanted = (len(x), dataset.num_classes)
    if tuple(scores.shape) != wanted:
        text = f"expected scores of shape {wanted}, one for each of {wanted[1]}; got {scores.shape}"
        return Finding("shapes", False, text)
    return Finding("shapes", True, f"images of {shape} give {wanted[1]} scores each")


def _first_loss(
    model: Module, dataset: Dataset, x: Array, y: Array, objective: Objective
) -> Finding:
    with no_grad():
        loss = objective(model.eval()(as_tensor(x)), y).item()
    if not math.isfinite(loss):
        text = f"the first loss is {loss}: look for images or initial weights that are not finite"
        return Finding("first loss", False, text)
    if dataset.task == "regression":
        return Finding("first loss", True, f"the first loss is {loss:.4f}")
    multilabel = dataset.task == "multilabel"
    count = 2 if multilabel else dataset.num_classes
    expected = math.log(count)
    said = f"the first loss is {loss:.3f}, and of a network that knows nothing ln {count} = "
    said += f"{expected:.3f} is expected"
    if 0.5 * expected <= loss <= expected + max(expected, 1.0):
        return Finding("first loss", True, said)
    if loss > expected:
        hint = "the scores are too large: look at the initial weights and the images' scale"
    else:
        hint = "it knows the answers already: were weights loaded, or is the target in the image?"
    return Finding("first loss", False, f"{said}; {hint}")


def _by_heart(model: Module, x: Array, y: Array, objective: Objective, seconds: float) -> Finding:
    optimizer = Adam(model.parameters(), lr=1e-3)
    model.train()
    begun, first, loss, steps = time.monotonic(), 0.0, math.inf, 0
    while steps < _STEPS:
        steps += 1
        optimizer.zero_grad()
        value = objective(model(as_tensor(x)), y)
        loss = value.item()
        first = first or loss
        if not math.isfinite(loss) or loss < _LEARNT * first:
            break
        value.backward()
        optimizer.step()
        if time.monotonic() - begun > seconds:
            break
    told = f"the loss of {len(x)} images went from {first:.3f} to {loss:.3f} in {steps} steps"
    if loss < _LEARNT * first:
        return Finding("one batch", True, f"{told}: it can learn them by heart")
    why = "look at the labels, at layers without gradient, and at strong dropout"
    return Finding("one batch", False, f"{told}: it cannot learn even a few images by heart; {why}")


@contextmanager
def _as_before(model: Module) -> Iterator[None]:
    """Put parameters, buffers, gradients, modes and the global generator back at the end."""
    kept = {name: value.array.copy() for name, value in model.state_dict().items()}
    modes = [(module, module.training) for module in model.modules()]
    generator, state = default_generator(), default_generator().get_state()
    try:
        yield
    finally:
        generator.set_state(state)
        model.load_state_dict(kept)
        model.zero_grad()
        for module, mode in modes:
            module.training = mode
