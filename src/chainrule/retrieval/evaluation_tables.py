"""The tables of an evaluation as CSV: a row a mode, a class, a query."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.errors import ShapeError, expect
from chainrule.retrieval.evaluation import Evaluation
from chainrule.training.records import csv_text
from chainrule.training.tables import guarded


def modes_csv(evaluation: Evaluation) -> str:
    """Write the means of each mode, the mAP with its 95 % interval, and the macro mAP.

    >>> import numpy as np
    >>> from chainrule.retrieval.evaluation import evaluate
    >>> given = [(slice(0, 2), np.array([[0.9, 0.2], [0.8, 0.7]]))]
    >>> found = evaluate(lambda mode: given, [0, 1], [0, 1], modes=["off"], places=[1])
    >>> print(modes_csv(found).splitlines()[0])
    mode,queries,without,map,map_low,map_high,macro_map,ap@1,p@1,recall@1,acc@1,mv@1,first,found
    >>> print(modes_csv(found).splitlines()[1])
    off,2,0,0.750000,0.500000,1.000000,0.750000,0.500000,0.500000,0.500000,0.500000,0.500000,1.500000,1.000000
    """
    lines, header = [], list[str]()
    for mode, scores in evaluation.scores.items():
        others = {name: value for name, value in scores.means.items() if name != "ap"}
        header = ["mode", "queries", "without", "map", "map_low", "map_high", "macro_map", *others]
        values = (scores.means["ap"], *scores.interval, scores.macro["ap"], *others.values())
        counts = str(scores.queries), str(scores.without)
        lines.append([mode, *counts, *_numbers(values)])
    return csv_text(header, lines)


def classes_csv(evaluation: Evaluation, classes: Sequence[str]) -> str:
    """Write the means of each class in each mode, with the number of its queries.

    >>> import numpy as np
    >>> from chainrule.retrieval.evaluation import evaluate
    >>> given = [(slice(0, 1), np.array([[0.9, 0.2]]))]
    >>> found = evaluate(lambda mode: given, [0], [0, 1], modes=["off"], places=[1])
    >>> print(classes_csv(found, ["cat", "dog"]).splitlines()[2])  # no query is a dog
    off,dog,0,,,,,,,,
    """
    expect(
        len(classes) == evaluation.classes,
        "classes_csv",
        f"a name for each of {evaluation.classes} classes",
        error=ShapeError,
        names=len(classes),
    )
    lines, header = [], list[str]()
    for mode, scores in evaluation.scores.items():
        header = ["mode", "class", "queries", *_renamed(scores.classes)]
        for number, name in enumerate(classes):
            values = (column[number] for column in scores.classes.values())
            lines.append([mode, guarded(name), str(int(scores.support[number])), *_numbers(values)])
    return csv_text(header, lines)


def queries_csv(
    evaluation: Evaluation, classes: Sequence[str], ids: Sequence[Any] | None = None
) -> str:
    """Write each query's class, what it was taken for, and its average precision in each mode.

    A query is named by its number, or by what `ids` (Q,) call it.

    >>> from chainrule.retrieval.evaluation import evaluate
    >>> given = [(slice(0, 1), np.array([[0.9, 0.2]]))]
    >>> found = evaluate(lambda mode: given, [1], [0, 1], predicted=[0], modes=["off"])
    >>> print(queries_csv(found, ["cat", "dog"]).splitlines()[1].rpartition(",")[0])
    0,dog,cat,1,0.500000
    """
    e = evaluation
    columns = [ranking.ap for ranking in e.rankings.values()]
    header = ["query", "label", "predicted", "relevant", *(f"ap_{mode}" for mode in e.rankings)]
    relevant = next(iter(e.rankings.values())).relevant
    guesses = np.full(len(e.labels), -1) if e.predicted is None else e.predicted
    lines = (
        [
            guarded(str(query if ids is None else ids[query])),
            _name(classes, int(e.labels[query])),
            _name(classes, int(guesses[query])),
            str(int(relevant[query])),
            *_numbers(column[query] for column in columns),
        ]
        for query in range(len(e.labels))
    )
    return csv_text(header, lines)


def _renamed(columns: Mapping[str, Any]) -> list[str]:
    return ["map" if name == "ap" else name for name in columns]


def _name(classes: Sequence[str], label: int) -> str:
    return guarded(classes[label]) if label >= 0 else ""


def _numbers(values: Iterable[float]) -> list[str]:
    """Write numbers with six digits, what is not defined as an empty cell."""
    return ["" if math.isnan(value) else f"{value:.6f}" for value in values]
