"""The answers of the lectures' circuits: by name, the result and the gradient of each input.

Worked out by hand: as the lectures print them; where these print a loss alone, or letters, by their
rules.  Two of their slips are set right: the frog's SVM loss is 12.9, and y of the matrix product.
"""

from __future__ import annotations

from typing import Any

KNOWN: dict[str, tuple[Any, dict[str, Any]]] = {
    "Sum, then product": (-12, {"x": -4, "y": -4, "z": 3, "q1": -4}),
    "A neuron": (
        0.7310586,
        {"w0": -0.1966119, "x0": 0.3932239, "w1": -0.3932239, "x1": -0.5898358, "w2": 0.1966119},
    ),
    "Multiply gate": (21, {"x": 7, "y": 3}),
    "Gradients add at branches": (10, {"x": 7}),
    "ReLU at exactly 0": (0, {"x": 0}),
    "ReLU of a vector": (19, {"x": [4, 0, 5, 0]}),
    "Matrix product": (
        # the sum of upstream * y over y = [[-1, -1, 2, 6], [5, 2, 11, 7]]
        2 * -1 + 3 * -1 + -3 * 2 + 9 * 6 + -8 * 5 + 1 * 2 + 4 * 11 + 6 * 7,
        {
            "x": [[0, 16, -9], [-24, 9, -30]],
            "w": [[28, 3, -18, 0], [-30, 7, 13, 33], [-22, -7, 17, -15]],
        },
    ),
    "Fully connected layer": (
        # the upstream gradient (2, -1, 3, 1) times W n + b = (1+6+5+1, 2+8, 1+2+5-1, 2+3+4+2)
        2 * 13 - 10 + 3 * 7 + 11,
        {
            "b": [[2], [-1], [3], [1]],
            "W": [
                [2, 4, 6, 8, 10],
                [-1, -2, -3, -4, -5],
                [3, 6, 9, 12, 15],
                [1, 2, 3, 4, 5],
            ],
            "n": [[2 + 3 + 2], [-1 + 3], [4 + 1], [-2 + 1], [2 + 3]],
        },
    ),
    "Multiclass SVM, the cat": (2.9, {"cat": -1, "car": 1, "frog": 0}),
    "Multiclass SVM, the car": (0, {"cat": 0, "car": 0, "frog": 0}),
    "Multiclass SVM, the frog": (12.9, {"cat": 1, "car": 1, "frog": -2}),
    "Softmax, the cat": (2.04036, {"cat": 0.12998 - 1, "car": 0.86905, "frog": 0.00097}),
    "Squared error": (2.5, {"o": [1, -2, 0], "y": [-1, 2, 0]}),
    "One number of a convolution": (
        8,
        {
            "w": [[1, 2, 1], [0, 1, 2], [0, 0, 1]],
            "x": [[1, 1, 1], [1, 1, 1], [1, 1, 1]],
        },
    ),
    "One number of max pooling": (5, {"x": [[0, 0], [0, 1]]}),
}
