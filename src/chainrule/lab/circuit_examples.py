"""The circuits of the lectures, as they are offered on the page: a heading, a name, what to type.

Most have the lectures' own numbers.  Where a lecture has letters alone (the multiply gate, the
fully connected layer, the squared error) the numbers are small ones of ours.
"""

from __future__ import annotations

from typing import NamedTuple


class Example(NamedTuple):
    """A circuit of the lectures: an expression and its values, as they are typed."""

    heading: str
    name: str
    expression: str
    values: str


_CIRCUITS, _MATRICES = "Circuits", "Vectors and matrices"
_LOSSES, _WINDOWS = "Losses", "Windows"


EXAMPLES: tuple[Example, ...] = (
    Example(_CIRCUITS, "Sum, then product", "(x + y) * z", "x=-2 y=5 z=-4"),
    Example(
        _CIRCUITS,
        "A neuron",
        "L = sigmoid(w0*x0 + w1*x1 + w2)",
        "w0=2 x0=-1 w1=-3 x1=-2 w2=-3",
    ),
    Example(_CIRCUITS, "Multiply gate", "z = x * y", "x=3 y=7"),
    Example(_CIRCUITS, "Gradients add at branches", "x*x + 3*x", "x=2"),
    Example(_MATRICES, "ReLU at exactly 0", "relu(x)", "x=0"),
    Example(
        _MATRICES,
        "ReLU of a vector",
        "L = sum([4, -1, 5, 9] * relu(x))",
        "x=[1, -2, 3, -1]",
    ),
    Example(
        _MATRICES,
        "Matrix product",
        "L = sum([[2, 3, -3, 9], [-8, 1, 4, 6]] * (x @ w))",
        "x=[[2, 1, -3], [-3, 4, 2]] w=[[3, 2, 1, -1], [2, 1, 3, 2], [3, 2, 1, -2]]",
    ),
    Example(
        _MATRICES,
        "Fully connected layer",
        "L = sum([[2], [-1], [3], [1]] * (W @ n + b))",
        "W=[[1, 0, 2, 0, 1], [0, 1, 0, 2, 0], [1, 1, 0, 0, 1], [2, 0, 1, 1, 0]] "
        "n=[[1], [2], [3], [4], [5]] b=[[1], [0], [-1], [2]]",
    ),
    Example(
        _LOSSES,
        "Multiclass SVM, the cat",
        "max(0, car - cat + 1) + max(0, frog - cat + 1)",
        "cat=3.2 car=5.1 frog=-1.7",
    ),
    Example(
        _LOSSES,
        "Multiclass SVM, the car",
        "max(0, cat - car + 1) + max(0, frog - car + 1)",
        "cat=1.3 car=4.9 frog=2.0",
    ),
    Example(
        _LOSSES,
        "Multiclass SVM, the frog",
        "max(0, cat - frog + 1) + max(0, car - frog + 1)",
        "cat=2.2 car=2.5 frog=-3.1",
    ),
    Example(
        _LOSSES,
        "Softmax, the cat",
        "-log(exp(cat) / (exp(cat) + exp(car) + exp(frog)))",
        "cat=3.2 car=5.1 frog=-1.7",
    ),
    Example(_LOSSES, "Squared error", "sum(square(o - y)) / 2", "o=[1, 4, 2] y=[0, 6, 2]"),
    Example(
        _WINDOWS,
        "One number of a convolution",
        "sum(w * x)",
        "w=[[1, 1, 1], [1, 1, 1], [1, 1, 1]] x=[[1, 2, 1], [0, 1, 2], [0, 0, 1]]",
    ),
    Example(_WINDOWS, "One number of max pooling", "max(x)", "x=[[3, 2], [0, 5]]"),
)
"""What is offered, in this order."""
