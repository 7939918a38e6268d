"""Planted errors: the comparison of pairs with references finds each kind of wrong kernel."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from chainrule.engine.dispatch import Backend
from chainrule.engine.op import OPS, Op
from tests.backends.onednn import compare
from tests.backends.onednn.compare import Declined, Reference, check_case
from tests.backends.onednn.grid import LAYOUTS

pytestmark = pytest.mark.usefixtures("count_primitives")


@dataclass(frozen=True)
class Double(Op, register=False):
    """y = 2 x."""

    def forward(self, xp: Any, x: Any) -> Any:
        return (2 * x,), x

    def backward(self, xp: Any, saved: Any, gy: Any, needs: Any) -> Any:
        return (2 * gy,)


class Good:
    """What a pair should do; each subclass does one thing wrong."""

    def supports(self, op: Any, arrays: Any) -> bool:
        return True

    def forward(self, op: Any, arrays: Any) -> Any:
        compare.Executed.count += 1
        return (arrays[0] * np.float32(2),), arrays[0]

    def backward(self, op: Any, saved: Any, gy: Any, needs: Any) -> Any:
        compare.Executed.count += 1
        return (gy * np.float32(2),)


class OffByOne(Good):
    def backward(self, op: Any, saved: Any, gy: Any, needs: Any) -> Any:
        compare.Executed.count += 1
        return (np.roll(gy, 1) * np.float32(2),)


class SlightlyOff(Good):
    def backward(self, op: Any, saved: Any, gy: Any, needs: Any) -> Any:
        compare.Executed.count += 1
        return (gy * np.float32(2.0001),)


class OneElementWrong(Good):
    def forward(self, op: Any, arrays: Any) -> Any:
        (y,), saved = super().forward(op, arrays)
        y.flat[-1] += 1e-3
        return (y,), saved


class LeavesNaN(Good):
    def forward(self, op: Any, arrays: Any) -> Any:
        (y,), saved = super().forward(op, arrays)
        y.flat[0] = np.nan
        return (y,), saved


class WritesGy(Good):
    def backward(self, op: Any, saved: Any, gy: Any, needs: Any) -> Any:
        compare.Executed.count += 1
        gy.flags.writeable = True
        gx = gy * np.float32(2)
        gy.flat[0] = 0
        return (gx,)


class WritesInput(Good):
    def forward(self, op: Any, arrays: Any) -> Any:
        result = super().forward(op, arrays)
        arrays[0].flat[0] = 7
        return result


class WritesSaved(Good):
    def forward(self, op: Any, arrays: Any) -> Any:
        (y,), _ = super().forward(op, arrays)
        return (y,), y

    def backward(self, op: Any, saved: Any, gy: Any, needs: Any) -> Any:
        saved += 1
        return super().backward(op, saved, gy, needs)


class ReturnsSaved(Good):
    def forward(self, op: Any, arrays: Any) -> Any:
        (y,), _ = super().forward(op, arrays)
        return (y,), np.zeros_like(y)

    def backward(self, op: Any, saved: Any, gy: Any, needs: Any) -> Any:
        super().backward(op, saved, gy, needs)
        saved[...] = 2 * gy
        return (saved,)


class AliasesInput(Good):
    def forward(self, op: Any, arrays: Any) -> Any:
        compare.Executed.count += 1
        return (arrays[0],), arrays[0]


class WrongKind(Good):
    def backward(self, op: Any, saved: Any, gy: Any, needs: Any) -> Any:
        return (super().backward(op, saved, gy, needs)[0].astype(np.float64),)


class WrongShape(Good):
    def backward(self, op: Any, saved: Any, gy: Any, needs: Any) -> Any:
        return (super().backward(op, saved, gy, needs)[0][None],)


class SecretlyTheReference(Good):
    def forward(self, op: Any, arrays: Any) -> Any:
        return op.forward(np, *arrays)


class SecretlyTheReferenceBackward(Good):
    def backward(self, op: Any, saved: Any, gy: Any, needs: Any) -> Any:
        return op.backward(np, saved, gy, needs)


def toy(pair: type[Any]) -> Backend:
    made = Backend("toy")
    made.kernel(Double)(pair)
    return made


def check_toy(pair: type[Any]) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 4), np.float32)
    check_case(
        toy(pair), Double(), [x], [np.array, LAYOUTS["channels last"]], rng, itertools.count()
    )


def test_a_right_pair_passes() -> None:
    check_toy(Good)


@pytest.mark.parametrize(
    ("pair", "told"),
    [
        (OffByOne, "the gradient of input 0"),
        (SlightlyOff, "the gradient of input 0"),
        (OneElementWrong, "output 0"),
        (LeavesNaN, "output 0: .*nan"),
        (WritesGy, "gradients that came in were written"),
        (WritesInput, "inputs of the forward were written"),
        (WritesSaved, "saved arrays or outputs were written"),
        (ReturnsSaved, "saved arrays or outputs were written|share memory"),
        (AliasesInput, "share memory"),
        (WrongKind, "dtype float64"),
        (WrongShape, "shape"),
        (SecretlyTheReference, "ran no primitive"),
        (SecretlyTheReferenceBackward, "ran no primitive"),
    ],
)
def test_a_wrong_pair_is_caught(pair: type[Any], told: str) -> None:
    with pytest.raises(AssertionError, match=told):
        check_toy(pair)


def test_a_declined_case_is_told() -> None:
    with pytest.raises(Declined):
        check_toy(type("Never", (Good,), {"supports": lambda self, op, arrays: False}))


def test_the_reference_s_own_error_is_measured() -> None:
    op = OPS["Conv"]()
    x = np.full((1, 1, 4, 4), 0.1, np.float32)
    reference = Reference(op, [x, np.full((1, 1, 2, 2), 0.1, np.float32)])
    assert reference.outputs[0].dtype == np.float64
    assert 0 < np.abs(reference.own[0] - reference.outputs[0]).max() < 1e-7
