"""An index's evaluation as it is made: by hand from its own rows, and whom it leaves out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from chainrule.retrieval.index import Index
from chainrule.retrieval.making import Source, build_index
from chainrule.retrieval.measuring import calibrated, measure
from tests.retrieval.shapes import write_shapes


@pytest.fixture(scope="module")
def table(run: Path, shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Index:
    """An index whose patients, four pictures of each, are told by a table and by no path."""
    folder = tmp_path_factory.mktemp("measured")
    files = sorted(shapes.rglob("*.png"))
    rows = [f"{path},{path.parent.name},{number // 4}" for number, path in enumerate(files)]
    (folder / "table.csv").write_text("\n".join(["path,label,group", *rows]) + "\n")
    build_index(run, Source(str(folder / "table.csv")), folder / "index")
    return Index(folder / "index")


@pytest.mark.parametrize("apart", [0, 14])
def test_it_is_scikit_learns_of_the_rows_that_may_be_found(
    built: Path, tmp_path: Path, apart: int
) -> None:
    write_shapes(tmp_path / "asked", 4, first=300)
    index = Index(built)
    found = measure(index, Source(str(tmp_path / "asked")), apart=apart)
    queries, snapshot = found.queries, index.snapshot
    matrix, p = np.asarray(snapshot.matrix), np.asarray(snapshot.probabilities)
    bits = queries.phashes[:, None] ^ snapshot.phashes
    far = np.bitwise_count(bits) > (apart or -1)
    assert apart == 0 or 0 < far.sum() < far.size
    cosines = queries.vectors @ matrix.T
    agreement = np.sqrt(queries.probabilities) @ np.sqrt(p).T
    for mode, scores in (("off", cosines), ("soft", (cosines + agreement) / 2)):
        ap = [
            average_precision_score(snapshot.labels[ok] == label, row[ok])
            for row, ok, label in zip(scores, far, queries.labels, strict=True)
        ]
        means = found.evaluation.scores[mode].means
        assert means["ap"] == pytest.approx(np.mean(ap), abs=1e-5)
    nearest = 1 - np.where(far, cosines, -np.inf).max(axis=1)
    np.testing.assert_allclose(found.distances, nearest, atol=1e-6)
    assert calibrated(found).measured == 12


def test_a_query_that_is_in_the_index_leaves_out_its_patient_there(
    table: Index, shapes: Path
) -> None:
    found = measure(table, Source(str(shapes)), modes=())  # no path tells the patients
    groups = table.snapshot.groups
    np.testing.assert_array_equal(found.queries.groups, groups[found.queries.rows])
    for query, row in enumerate(found.queries.rows):
        nearest = found.evaluation.nearest["off"][query]
        assert groups[row] not in groups[nearest[nearest >= 0]]
    assert (found.evaluation.rankings["off"].relevant == 8).all()
