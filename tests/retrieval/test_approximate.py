"""Search by a graph: beside exact search, with rows it does not hold, and where it has too few."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.errors import DataError, KindError
from chainrule.retrieval import approximate
from chainrule.retrieval.approximate import Graph, nearest_approximate, recall_at
from chainrule.retrieval.ranking import nearest
from chainrule.retrieval.shelf import Query, Shelf
from tests.retrieval.brute import asked, drawn, unit

MODES = ("off", "soft", "hard")
SHELF = drawn(3000, 16, 4)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return Graph.build(SHELF.matrix[:2500], threads=1)


class Listed:
    """A graph that names the same rows for every query."""

    dimension = 16

    def __init__(self, *rows: int) -> None:
        self.rows = rows
        self.counts: list[int] = []

    def __len__(self) -> int:
        return 2500

    def candidates(self, queries: Any, count: int) -> Any:
        self.counts.append(count)
        named = np.full((len(queries), count), -1, np.int64)
        named[:, : len(self.rows)] = self.rows
        return named


@pytest.mark.parametrize("mode", ["off", "hard"])
def test_it_finds_nearly_what_exact_search_finds(graph: Graph, mode: Any) -> None:
    query = asked(SHELF, 100)
    exact = nearest(query, SHELF, 10, mode)
    ours = nearest_approximate(query, SHELF, graph, 2500, 10, mode)
    assert (ours.rows == exact.rows).mean() > (0.98 if mode == "off" else 0.7)
    both = ours.rows == exact.rows
    np.testing.assert_array_equal(ours.scores[both], exact.scores[both])
    np.testing.assert_array_equal(ours.cosines[both], exact.cosines[both])


@pytest.mark.parametrize("mode", MODES)
def test_every_row_as_a_candidate_is_exact_search(graph: Graph, mode: Any) -> None:
    query = asked(SHELF, 30)
    exact = nearest(query, SHELF, 10, mode)
    ours = nearest_approximate(query, SHELF, graph, 2500, 10, mode, count=2500)
    np.testing.assert_array_equal(ours.scores, exact.scores)
    np.testing.assert_array_equal(ours.rows, exact.rows)


@pytest.mark.parametrize("mode", MODES)
def test_candidates_are_scored_and_masked_as_in_exact_search(mode: Any) -> None:
    """Of the rows named, and of those beyond the graph, the best are found: no others."""
    query = asked(SHELF, 25)
    named = np.arange(0, 2400, 3)
    part = SHELF.alive.copy()
    part[:2500] &= np.isin(np.arange(2500), named)
    expected = nearest(query, SHELF._replace(alive=part), 10, mode)
    listed: Any = Listed(*named)
    ours = nearest_approximate(query, SHELF, listed, 2500, 10, mode, count=800)
    np.testing.assert_array_equal(ours.rows, expected.rows)
    np.testing.assert_array_equal(ours.scores, expected.scores)


def test_places_without_a_row_and_rows_not_covered_are_no_candidates() -> None:
    """The last row, which -1 would mean, and those looked at anyway, would come twice."""
    query = Query(unit(SHELF.matrix[[2999, 2100]]))
    alive = SHELF._replace(alive=np.ones(3000, np.bool_))
    listed: Any = Listed(*range(20), 2100)
    ours = nearest_approximate(query, alive, listed, 2000, 5, "off")
    part = SHELF._replace(alive=(np.arange(3000) < 20) | (np.arange(3000) >= 2000))
    exact = nearest(query, part, 5, "off")
    np.testing.assert_array_equal(ours.rows, exact.rows)
    assert exact.rows[:, 0].tolist() == [2999, 2100]


def test_rows_beyond_the_graph_are_found(graph: Graph) -> None:
    query = Query(unit(SHELF.matrix[2500:]))
    alive = SHELF._replace(alive=np.ones(3000, np.bool_))
    found = nearest_approximate(query, alive, graph, 2500, 1, "off")
    np.testing.assert_array_equal(found.rows[:, 0], np.arange(2500, 3000))


def test_where_too_few_are_left_the_search_is_exact() -> None:
    query = asked(SHELF, 9)
    dead = np.flatnonzero(~SHELF.alive[:2500])[:40]
    for rows in ((), dead):  # a graph that names nobody, and one that names dead rows
        listed: Any = Listed(*rows)
        for shelf in (SHELF, SHELF._replace(alive=SHELF.alive & (np.arange(3000) < 2500))):
            ours = nearest_approximate(query, shelf, listed, 2500, 600, "soft")
            exact = nearest(query, shelf, 600, "soft")
            for a, b in zip(ours, exact, strict=True):
                np.testing.assert_array_equal(a, b)
        assert listed.counts == [2400] * 2  # four times k
    none = SHELF._replace(alive=np.zeros(3000, np.bool_))
    assert (nearest_approximate(query, none, Listed(1), 2500, 3, "off").rows == -1).all()  # type: ignore[arg-type]


def test_only_the_queries_with_too_few_are_looked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    again: list[int] = []
    real = approximate.nearest

    def counted(query: Query, *rest: Any) -> Any:
        again.append(len(query.vectors))
        return real(query, *rest)

    monkeypatch.setattr(approximate, "nearest", counted)
    shelf = SHELF._replace(alive=np.arange(3000) < 2500)
    listed: Any = Listed(*range(200))
    query = asked(shelf, 40, groups=False)
    few = np.isin(np.asarray(query.probabilities).argmax(axis=1), [2])
    shelf.predicted.setflags(write=False)
    named = shelf._replace(predicted=np.where(np.arange(3000) < 200, 0, shelf.predicted))
    kinds = np.asarray(query.probabilities).argmax(axis=1)
    ours = nearest_approximate(query, named, listed, 2500, 3, "hard", count=200)
    assert again == [int((kinds != 0).sum())]
    np.testing.assert_array_equal(ours.rows[few], real(query, named, 3, "hard").rows[few])


def test_a_graph_in_a_file_and_as_bytes(graph: Graph, tmp_path: Path) -> None:
    graph.save(tmp_path / "graph")
    assert [path.name for path in tmp_path.iterdir()] == ["graph"]
    assert (tmp_path / "graph").read_bytes() == graph.to_bytes()
    vectors = asked(SHELF, 20).vectors
    for again in (Graph.open(tmp_path / "graph"), Graph.open(graph.to_bytes())):
        assert (len(again), again.dimension) == (2500, 16)
        np.testing.assert_array_equal(again.candidates(vectors, 5), graph.candidates(vectors, 5))


def test_candidates_come_with_places_for_those_that_are_not_there() -> None:
    small = Graph.build(SHELF.matrix[:3])
    for count in (1, 2):
        named = small.candidates(asked(SHELF, count).vectors, 5)
        assert named.shape == (count, 5)
        assert (np.sort(named, axis=1) == [-1, -1, 0, 1, 2]).all()
    assert Graph.build(SHELF.matrix[:0]).candidates(SHELF.matrix[:2], 2).tolist() == [[-1, -1]] * 2
    assert small.candidates(SHELF.matrix[:0], 2).shape == (0, 2)


def test_recall() -> None:
    shelf = drawn(1500, 8)
    full = Graph.build(shelf.matrix, threads=1)
    assert recall_at(full, shelf, 1500, 5, samples=200) > 0.98
    assert recall_at(full, shelf, 1500, 5, samples=99) == recall_at(
        full, shelf, 1500, 5, samples=99
    )
    assert recall_at(full, shelf, 1500, 5, "hard", samples=200) > 0.8
    some = recall_at(full, shelf, 1500, 5, "soft", samples=200)
    assert 0.9 < some <= 1
    equal = Shelf.of(np.repeat(shelf.matrix[:1], 300, axis=0))
    assert recall_at(Graph.build(equal.matrix), equal, 300) == 1  # which of them is no matter
    wrong = Graph.build(np.roll(shelf.matrix, 700, axis=0))  # names other rows than it should
    assert recall_at(wrong, shelf, 1500, 5, samples=200) < 0.2


def test_the_graph_of_float16_rows_and_its_progress() -> None:
    told: list[tuple[int, int]] = []
    rows = drawn(5000, 8).matrix.astype(np.float16)
    graph = Graph.build(rows, threads=2, progress=lambda done, total: told.append((done, total)))
    assert told == [(1024, 5000), (5000, 5000)]
    assert recall_at(graph, Shelf.of(rows), 5000, samples=100) > 0.9


def test_one_thread_makes_the_same_graph() -> None:
    rows = SHELF.matrix[:1500]
    first, again = (Graph.build(rows, threads=1).to_bytes() for _ in range(2))
    assert first == again


def test_refusals(graph: Graph, tmp_path: Path) -> None:
    query = asked(SHELF, 2)
    with pytest.raises(DataError, match=r"at most 3000 rows covered, by a graph of 2500; .* 2501"):
        nearest_approximate(query, SHELF, graph, 2501, 3)
    with pytest.raises(DataError, match="a graph of the shelf's width"):
        nearest_approximate(query, SHELF, Graph.build(np.eye(4)), 4, 3)
    with pytest.raises(DataError, match="k of at least 1"):
        nearest_approximate(query, SHELF, graph, 2500, 0)
    with pytest.raises(DataError, match="k of at least 1"):
        graph.candidates(query.vectors, 0)
    with pytest.raises(DataError, match=r"queries \(Q, 16\)"):
        graph.candidates(np.eye(3), 1)
    with pytest.raises(DataError, match=r"a matrix \(N, D\)"):
        Graph.build(np.zeros(3))
    with pytest.raises(DataError, match="neighbours of at least 2"):
        Graph.build(np.eye(3), neighbours=1)
    with pytest.raises(DataError, match="at least 1 thread"):
        Graph.build(np.eye(3), threads=0)
    with pytest.raises(KindError, match="a whole number for effort"):
        Graph.build(np.eye(3), effort=1.5)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="at least two living rows"):
        recall_at(graph, SHELF._replace(alive=np.zeros(3000, np.bool_)), 2500)
    (tmp_path / "none").write_bytes(b"")
    (tmp_path / "text").write_text("no graph " * 100)
    for name in ("none", "text"):
        with pytest.raises(DataError, match=f"{name} is no graph of usearch"):
            Graph.open(tmp_path / name)
    with pytest.raises(DataError, match="expected a file, there is none"):
        Graph.open(tmp_path / "absent")
    with pytest.raises(DataError, match="bytes is no graph of usearch"):
        Graph.open(b"no graph")


def test_without_usearch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    monkeypatch.setitem(sys.modules, "usearch", None)
    for call in (lambda: Graph.build(np.eye(3)), lambda: Graph.open(b"")):
        with pytest.raises(DataError, match=r"pip install chainrule\[ann\]"):
            call()
