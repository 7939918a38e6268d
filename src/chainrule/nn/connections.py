"""Tables of connections for ConvMap2d: rows (input plane, output plane), counted from 0.

Torch has them, counted from 1, in nn.tables.
"""

from __future__ import annotations

import numpy as np

from chainrule.engine.op import Array
from chainrule.engine.random import Generator, initialization_generator
from chainrule.errors import failure
from chainrule.nn.linear import count


def full(inputs: int, outputs: int) -> Array:
    """Connect every input plane with every output plane: (inputs * outputs, 2).

    >>> full(2, 1).tolist()
    [[0, 0], [1, 0]]
    """
    ends = count(inputs, "full inputs", 1), count(outputs, "full outputs", 1)
    output, input = np.divmod(np.arange(ends[0] * ends[1]), ends[0])
    return np.stack([input, output], axis=1)


def one_to_one(planes: int) -> Array:
    """Connect every input plane with the output plane of its number: (planes, 2).

    >>> one_to_one(2).tolist()
    [[0, 0], [1, 1]]
    """
    each = np.arange(count(planes, "one_to_one planes", 1))
    return np.stack([each, each], axis=1)


def random(inputs: int, outputs: int, fan_in: int, generator: Generator | None = None) -> Array:
    """Connect every output plane with `fan_in` input planes, drawn without repetition.

    The inputs are dealt like cards, so that they are used about equally often: a shuffled pack
    gives floor(inputs / fan_in) outputs their planes, then it is shuffled anew.
    Raises ValueError for a `fan_in` that is not in 1..inputs.

    >>> import chainrule as cr
    >>> table = random(6, 4, 3, cr.Generator(0))
    >>> table.shape, sorted(table[:6, 0].tolist())
    ((12, 2), [0, 1, 2, 3, 4, 5])
    """
    n, m, k = (
        count(value, f"random {name}", 1)
        for name, value in (("inputs", inputs), ("outputs", outputs), ("fan_in", fan_in))
    )
    if k > n:
        raise failure("random", f"a fan_in of at most the {n} inputs", fan_in=k)
    source = generator or initialization_generator()
    hands = -(-m // (n // k))
    cards = [source.permutation(n)[: n // k * k] for _ in range(hands)]
    dealt = np.concatenate(cards)[: m * k]
    return np.stack([dealt, np.repeat(np.arange(m), k)], axis=1)


_C3 = (
    *[tuple((first + i) % 6 for i in range(3)) for first in range(6)],
    *[tuple((first + i) % 6 for i in range(4)) for first in range(6)],
    *[(0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)],
    (0, 1, 2, 3, 4, 5),
)


def lenet5_c3() -> Array:
    """Connect the 6 planes of LeNet-5's S2 with the 16 of its C3: (60, 2).

    Six outputs see three neighbouring planes, six see four, three see four with a gap, the last
    one sees all.  Source: LeCun et al. (1998), table I.

    >>> table = lenet5_c3()
    >>> len(table), table[table[:, 1] == 4, 0].tolist(), table[table[:, 1] == 14, 0].tolist()
    (60, [4, 5, 0], [0, 2, 3, 5])
    """
    return np.array([(plane, output) for output, seen in enumerate(_C3) for plane in seen])
