"""Which of several wrong things is told: the exception that PyTorch's users catch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.parity.harness import check, misuse

ONE, TWO = np.ones(3, np.float32), np.ones((2, 3), np.float32)
WHOLE = np.ones((2, 3), np.int64)
CASES: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    (lambda F, x: F.unfold(x, 2), (ONE,)),
    (lambda F, x: F.unfold(x, 2), (TWO,)),
    (lambda F, x: F.unfold(x, 2), (np.ones((1, 1, 1, 2, 2), np.float32),)),
    (lambda F, x: F.avg_pool2d(x, 2), (WHOLE.astype(np.int32),)),
    (lambda F, x: F.local_response_norm(x, 2), (WHOLE,)),
    (lambda F, x: F.normalize(x), (WHOLE[0],)),
    (lambda F, x, t: F.cosine_similarity(x, t), (WHOLE[0], WHOLE[0])),
    (lambda F, x, t: F.binary_cross_entropy(x, t), (TWO, ONE.astype(np.bool_))),
    (lambda F, x, t: F.binary_cross_entropy(x, t), (WHOLE, WHOLE[0])),
    (lambda F, x, t: F.binary_cross_entropy_with_logits(x, t), (WHOLE, WHOLE[0])),
    (lambda F, x, t: F.cross_entropy(x, t), (np.ones((), np.float32), np.zeros((), np.int64))),
    (lambda F, x, t: F.embedding(x, t), (np.zeros((2,), np.int64), np.ones((), np.float32))),
    (lambda F, x: F.batch_norm(x, None, None, training=True), (np.ones((), np.float32),)),
]


@pytest.mark.parametrize(("call", "inputs"), CASES)
def test_kinds_of_exceptions(call: Callable[..., Any], inputs: tuple[Any, ...]) -> None:
    misuse(lambda lib, *tensors: call(lib.nn.functional, *tensors), *inputs)


def test_cosine_similarity_of_float16() -> None:
    rng = np.random.default_rng(0)
    check(
        lambda lib, x, y: lib.nn.functional.cosine_similarity(x, y),
        rng.standard_normal((3, 4)), rng.standard_normal((3, 4)),
        dtypes=("float16",),
    )  # fmt: skip
