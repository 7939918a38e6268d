"""Sums of products over named axes: einsum, tensordot, inner, and chains of matrices.

All come down to products of two tensors, which go through `matmul`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from math import prod
from typing import Any

import numpy as np

from chainrule.engine.op import public
from chainrule.engine.tensor import Tensor, as_tensor
from chainrule.errors import KindError, failure
from chainrule.ops.arguments import axis, int_tuple, integer
from chainrule.ops.diagonal import diagonal
from chainrule.ops.elementwise import mul
from chainrule.ops.matmul import matmul
from chainrule.ops.permute import permute
from chainrule.ops.reduce import sum
from chainrule.ops.shape import reshape, squeeze

Labels = tuple[int, ...]
Term = tuple[Tensor, Labels]

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DOTS = len(_LETTERS)  # labels from here on are the axes that an ellipsis stands for


def _summed(term: Term, keep: Iterable[int], widen: bool) -> Term:
    """Sum over the axes whose labels are not to be kept; `widen` makes integers int64, as sum."""
    x, labels = term
    gone = tuple([d for d, label in enumerate(labels) if label not in keep])
    if not gone:
        return term
    y = sum(x, gone, dtype=None if widen else x.dtype)
    return y, tuple([label for label in labels if label in keep])


def _ordered(term: Term, wanted: Sequence[int]) -> Tensor:
    """Put the axes in the order of `wanted`."""
    x, labels = term
    order = tuple([labels.index(label) for label in wanted])
    return x if order == tuple(range(x.ndim)) else permute(x, order)


def _shaped(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    return x if x.shape == shape else reshape(x, shape)


def _thinned(a: Term, b: Term) -> Term:
    """Drop the axes of `a` of size 1 that `b` has with another size: they are broadcast."""
    x, labels = a
    other = dict(zip(b[1], b[0].shape, strict=True))
    thin = [d for d, n in enumerate(x.shape) if n == 1 and other.get(labels[d], 1) != 1]
    if not thin:
        return a
    return squeeze(x, thin), tuple([label for d, label in enumerate(labels) if d not in thin])


def contracted(a: Term, b: Term, keep: Iterable[int], widen: bool = False) -> Term:
    """Multiply two tensors with named axes and sum over the names that are not to be kept.

    With `widen` integers become int64 where a sum comes without a product over the same axis.
    """
    a, b = _thinned(a, b), _thinned(b, a)
    keep = set(keep)
    shared = [label for label in a[1] if label in b[1]]
    batch = [label for label in shared if label in keep]
    inner = [label for label in shared if label not in keep]
    a, b = [_summed(t, keep | set(shared), widen and not inner) for t in (a, b)]
    left = [label for label in a[1] if label not in shared]
    right = [label for label in b[1] if label not in shared]
    size = dict(zip((*a[1], *b[1]), (*a[0].shape, *b[0].shape), strict=True))

    def sizes(labels: Sequence[int]) -> tuple[int, ...]:
        return tuple([size[label] for label in labels])

    x, y = _ordered(a, [*batch, *left, *inner]), _ordered(b, [*batch, *inner, *right])
    result = (*batch, *left, *right)
    if not inner:
        x = reshape(x, (*sizes(batch), *sizes(left), *(1,) * len(right)))
        y = reshape(y, (*sizes(batch), *(1,) * len(left), *sizes(right)))
        return mul(x, y), result
    k = prod(sizes(inner))
    x = _shaped(x, (*sizes(batch), prod(sizes(left)), k))
    y = _shaped(y, (*sizes(batch), k, prod(sizes(right))))
    return _shaped(matmul(x, y), sizes(result)), result


def _reduced(terms: list[Term], output: Labels) -> Tensor:
    """Contract all terms, at each step the two with the smallest result."""
    while len(terms) > 1:
        best: tuple[int, int, int] | None = None
        for i, j in combinations(range(len(terms)), 2):
            rest = [t for k, t in enumerate(terms) if k not in (i, j)]
            keep = set(output).union(*[t[1] for t in rest])
            found: dict[int, int] = {}
            for x, labels in (terms[i], terms[j]):
                for label, n in zip(labels, x.shape, strict=True):
                    found[label] = max(found.get(label, 1), n) if n else 0
            cost = prod([n for label, n in found.items() if label in keep])
            if best is None or cost < best[0]:
                best = cost, i, j
        assert best is not None
        _, i, j = best
        rest = [t for k, t in enumerate(terms) if k not in (i, j)]
        keep = set(output).union(*[t[1] for t in rest])
        terms = [contracted(terms[i], terms[j], keep, widen=True), *rest]
    return _ordered(_summed(terms[0], output, widen=True), output)


def _parsed(equation: str, count: int) -> tuple[list[list[Any]], list[Any] | None]:
    """Read an equation: the subscripts of each operand, and of the output, None if implied."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = [_subscripts(term, equation) for term in left.split(",")]
    if len(terms) != count:
        rule = f"as many operands as the equation has, {len(terms)}, not {count}"
        raise failure("einsum", rule, equation=equation)
    return terms, _subscripts(right, equation) if arrow else None


def _subscripts(term: str, equation: str) -> list[Any]:
    """Read one operand's subscripts: letters as numbers, and at most one ellipsis."""
    before, dots, after = term.partition("...")
    for letter in before + after:
        if letter not in _LETTERS:
            rule = f"letters, '...', ',' and '->', not {letter!r}"
            raise failure("einsum", rule, equation=equation)
    middle: list[Any] = [Ellipsis] if dots else []
    return [*map(_LETTERS.index, before), *middle, *map(_LETTERS.index, after)]


def _sublists(arguments: Sequence[Any]) -> tuple[list[Any], list[list[Any]], list[Any] | None]:
    """Read the form einsum(x, [0, 1], y, [1, 2], [0, 2])."""
    operands, terms = list(arguments[0::2]), list(arguments[1::2])
    output = operands.pop() if len(arguments) % 2 else None
    for sublist in [*terms, *([] if output is None else [output])]:
        if not isinstance(sublist, list | tuple):
            raise failure("einsum", "a list of axes after each operand", error=KindError,
                          value=sublist)  # fmt: skip
        for label in sublist:
            if label is not Ellipsis and not 0 <= integer(label, "einsum sublist") < _DOTS:
                raise failure("einsum", f"subscripts in [0, {_DOTS - 1}] or ...", sublist=sublist)
    return operands, [list(t) for t in terms], None if output is None else list(output)


def _labelled(x: Tensor, subscripts: list[Any], dots: int, at: int) -> Term:
    """Give every axis of an operand its label, and take the diagonal where one comes twice."""
    named = len(subscripts) - (Ellipsis in subscripts)
    if named > x.ndim or (Ellipsis not in subscripts and named != x.ndim):
        rule = f"a subscript for each axis of operand {at}: {x.ndim}, not {named}"
        raise failure("einsum", rule, operand=x)
    labels: list[int] = []
    for s in subscripts:
        hidden = range(_DOTS + dots - (x.ndim - named), _DOTS + dots)
        labels.extend(hidden if s is Ellipsis else [s])
    while len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        first, second = [d for d, label in enumerate(labels) if label == twice][:2]
        if x.shape[first] != x.shape[second]:
            rule = f"axes of one size where operand {at} repeats a subscript"
            raise failure("einsum", rule, operand=x)
        x = diagonal(x, 0, first, second)
        labels = [label for d, label in enumerate(labels) if d not in (first, second)] + [twice]
    return x, tuple(labels)


def _output(terms: list[list[Any]], output: list[Any] | None, dots: int) -> Labels:
    """Give the output's labels: those told, or those that come once, in the alphabet's order."""
    letters = [s for term in terms for s in term if s is not Ellipsis]
    hidden = list(range(_DOTS, _DOTS + dots))
    if output is None:
        return (*hidden, *sorted([s for s in set(letters) if letters.count(s) == 1]))
    if len(set(map(str, output))) < len(output):
        raise failure("einsum", "every subscript of the output once", output=output)
    result: list[int] = []
    for s in output:
        if s is not Ellipsis and s not in letters:
            raise failure("einsum", "subscripts of the output that an operand has", output=output)
        result.extend(hidden if s is Ellipsis else [s])
    return tuple(result)


@public
def einsum(*args: Any) -> Tensor:
    """Multiply tensors and sum, the axes named by letters: einsum("ij,jk->ik", a, b) is a @ b.

    A letter that several operands have multiplies them along these axes (a size of 1 is
    broadcast); one that the output lacks is summed over; one that comes twice in an operand takes
    its diagonal.  Without "->" the output has the letters that come once, in the alphabet's order
    (capitals first).  "..." stands for the other axes, which are broadcast.  Instead of letters
    there may be lists of numbers: einsum(a, [0, 1], b, [1, 2], [0, 2]).
    Of three operands or more, those with the smallest product are multiplied first.
    Raises ShapeError for an equation that does not fit the operands, KindError for several
    dtypes.

    >>> import chainrule as cr
    >>> a, b = cr.tensor([[1.0, 2.0], [3.0, 4.0]]), cr.tensor([1.0, 10.0])
    >>> cr.einsum("ij,j->i", a, b), cr.einsum("ii", a), cr.einsum(a, [0, 1], [1, 0])
    (tensor([21.0, 43.0]), tensor(5.0), tensor([[1.0, 3.0],
            [2.0, 4.0]]))
    """
    if len(args) < 2:
        raise failure("einsum", "an equation and at least one operand", arguments=len(args))
    if isinstance(args[0], str):
        operands = args[1] if isinstance(args[1], list | tuple) else args[1:]
        operands = [as_tensor(x, "einsum operand") for x in operands]
        terms, output = _parsed(args[0], len(operands))
    else:
        given, terms, output = _sublists(args)
        operands = [as_tensor(x, "einsum operand") for x in given]
    hidden = [x.ndim - len(t) + 1 for x, t in zip(operands, terms, strict=True) if Ellipsis in t]
    dots = max([0, *hidden])
    named = [
        _labelled(x, t, dots, at) for at, (x, t) in enumerate(zip(operands, terms, strict=True))
    ]
    size: dict[int, int] = {}
    for at, (x, labels) in enumerate(named):
        for label, n in zip(labels, x.shape, strict=True):
            have = size.setdefault(label, n)
            if n != have and 1 not in (n, have):
                rule = f"sizes that broadcast where operand {at} shares a subscript: {have}, {n}"
                raise failure("einsum", rule, operand=x)
            size[label] = n if have == 1 else have
    return _reduced(named, _output(terms, output, dots))


@public
def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """Multiply two tensors and sum over pairs of axes.

    `dims` is a number n, which pairs the last n axes of `a` with the first n of `b`, or two lists
    of axes.  Shapes: (A, K), (K, B) -> (A, B) with n = 1; an axis of size 1 is broadcast.
    Raises ShapeError for sizes or lists that do not fit, KindError for two dtypes, AxisError for
    a wrong axis.

    >>> import chainrule as cr
    >>> cr.tensordot(cr.ones(2, 3, 4), cr.ones(4, 3, 5), ([1, 2], [1, 0])).shape
    (2, 5)
    """
    x, y = as_tensor(a), as_tensor(b)
    if isinstance(dims, Tensor | np.ndarray):
        dims = dims.tolist()
    if isinstance(dims, list | tuple):
        if len(dims) != 2:
            raise failure("tensordot", "two lists of axes", dims=dims)
        first, second = [int_tuple(d, "tensordot dims") for d in dims]
    else:
        n = integer(dims, "tensordot dims")
        if not 0 <= n <= min(x.ndim, y.ndim):
            raise failure("tensordot", f"dims in [0, {min(x.ndim, y.ndim)}]", dims=n)
        first, second = tuple(range(x.ndim - n, x.ndim)), tuple(range(n))
    if len(first) != len(second):
        raise failure("tensordot", "as many axes of a as of b", dims=dims)
    mine, theirs = list(range(x.ndim)), list(range(x.ndim, x.ndim + y.ndim))
    for p, q in zip(first, second, strict=True):
        i, j = axis(p, x.ndim, "tensordot"), axis(q, y.ndim, "tensordot")
        if x.shape[i] != y.shape[j] and 1 not in (x.shape[i], y.shape[j]):
            rule = f"sizes that agree or are 1: {x.shape[i]} at axis {i}, {y.shape[j]} at axis {j}"
            raise failure("tensordot", rule, a=x, b=y)
        theirs[j] = mine[i]
    pairs = {mine[axis(p, x.ndim, "tensordot")] for p in first}
    if len(pairs) < len(first) or len(set(theirs)) < len(theirs):
        raise failure("tensordot", "every axis once", dims=dims)
    check_kinds_of("tensordot", x, y)
    keep = [label for label in (*mine, *theirs) if label not in pairs]
    term = contracted((x, tuple(mine)), (y, tuple(theirs)), keep)
    return _ordered(term, keep)


def check_kinds_of(name: str, x: Tensor, y: Tensor) -> None:
    """Raise KindError for two dtypes."""
    if x.dtype != y.dtype:
        hint = "convert one of them: x.float(), x.double() or x.to(dtype)"
        raise failure(name, "tensors of one dtype", error=KindError, hint=hint, first=x, second=y)


@public
def inner(input: Tensor, other: Tensor) -> Tensor:
    """Multiply and sum over the last axis of both; a tensor without axes multiplies all.

    Shapes: (A, n), (B, n) -> (A, B).  Raises ShapeError where the last sizes differ, KindError
    for two dtypes.

    >>> import chainrule as cr
    >>> cr.inner(cr.tensor([1, 2, 3]), cr.tensor([4, 5, 6]))
    tensor(32)
    """
    x, y = as_tensor(input), as_tensor(other)
    if not x.ndim or not y.ndim:
        return mul(x, y)
    if x.shape[-1] != y.shape[-1]:
        rule = f"last sizes that agree: {x.shape[-1]} = {y.shape[-1]}"
        raise failure("inner", rule, input=x, other=y)
    return tensordot(x, y, ([-1], [-1]))


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """Multiply and sum along one axis, the others broadcast.

    Shapes: (..., n), (..., n) -> (...).  Raises ShapeError where the shapes do not broadcast.

    >>> import chainrule as cr
    >>> cr.linalg.vecdot(cr.tensor([[1.0, 2.0], [3.0, 4.0]]), cr.tensor([1.0, 10.0]))
    tensor([21.0, 43.0])
    """
    return sum(mul(x, y), dim)


def chained(name: str, tensors: Sequence[Tensor]) -> Tensor:
    """Multiply a chain of matrices in the order that needs the fewest multiplications.

    The first may be a row, the last a column, given as vectors.  Cormen et al., chapter 14.2.
    """
    given = [as_tensor(x, name) for x in tensors]
    if len(given) < 2:
        raise failure(name, "at least two matrices", matrices=len(given))
    for i, x in enumerate(given):
        if x.ndim != 2 and not (x.ndim == 1 and i in (0, len(given) - 1)):
            raise failure(name, f"a matrix as element {i}", value=x)
    chain = list(given)
    chain[0] = reshape(chain[0], (1, -1)) if given[0].ndim == 1 else chain[0]
    chain[-1] = reshape(chain[-1], (-1, 1)) if given[-1].ndim == 1 else chain[-1]
    n = [chain[0].shape[0], *[x.shape[1] for x in chain]]
    best: dict[tuple[int, int], tuple[int, int]] = {(i, i): (0, i) for i in range(len(chain))}
    for length in range(1, len(chain)):
        for i in range(len(chain) - length):
            j = i + length
            best[i, j] = min(
                (best[i, k][0] + best[k + 1, j][0] + n[i] * n[k + 1] * n[j + 1], k)
                for k in range(i, j)
            )

    def multiplied(i: int, j: int) -> Tensor:
        if i == j:
            return chain[i]
        k = best[i, j][1]
        return matmul(multiplied(i, k), multiplied(k + 1, j))

    y = multiplied(0, len(chain) - 1)
    kept = (*y.shape[: given[0].ndim - 1], *y.shape[1 : given[-1].ndim])
    return y if y.shape == kept else reshape(y, kept)


@public
def chain_matmul(*matrices: Tensor) -> Tensor:
    """Multiply a chain of matrices in the order that needs the fewest multiplications.

    Shapes: (a, b), (b, c), ..., (y, z) -> (a, z).  Raises ShapeError for fewer than two, for what
    is not a matrix and for inner sizes that differ.

    >>> import chainrule as cr
    >>> cr.chain_matmul(cr.ones(2, 3), cr.ones(3, 4), cr.ones(4, 1))
    tensor([[12.0],
            [12.0]])
    """
    for i, x in enumerate(matrices):
        if as_tensor(x).ndim != 2:
            raise failure("chain_matmul", f"a matrix as element {i}", value=x)
    if len(matrices) == 1:
        return as_tensor(matrices[0])
    return chained("chain_matmul", matrices)
