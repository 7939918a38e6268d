"""Exact search against one pair after the other, and against scikit-learn and faiss."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from chainrule.engine.dispatch import use_backend
from chainrule.engine.threads import get_num_threads, set_num_threads
from chainrule.errors import DataError, KindError
from chainrule.retrieval import ranking, scoring, survivors
from chainrule.retrieval.ranking import nearest, scores_of
from chainrule.retrieval.scoring import Buffers, Scoring, widen
from chainrule.retrieval.shelf import Found, Query, Shelf
from tests.retrieval.brute import asked, brute, drawn, unit

MODES = ("off", "soft", "hard")


def same(found: Found, other: Found) -> None:
    """Compare to the last bit."""
    for ours, theirs in zip(found, other, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks, parts and pools so small that a few rows fill several of each."""
    monkeypatch.setattr(Scoring, "step", 7)
    monkeypatch.setattr(ranking, "QUERIES", 3)
    monkeypatch.setattr(survivors, "FEWEST", 4)
    monkeypatch.setattr(survivors, "MANY", 16)
    monkeypatch.setattr(scoring, "PAIRS", 5)


@pytest.fixture
def budget() -> Iterator[None]:
    before = get_num_threads()
    yield
    set_num_threads(before)


shapes = st.tuples(
    st.integers(0, 60), st.integers(1, 6), st.integers(1, 4), st.integers(0, 7), st.integers(1, 70)
)


@pytest.mark.usefixtures("narrow")
@given(shapes, st.sampled_from(MODES), st.integers(0, 1000), st.booleans(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_it_is_the_sorted_list_of_all_pairs(
    shape: Any, mode: Any, seed: int, coarse: bool, groups: bool
) -> None:
    rows, dimension, classes, count, k = shape
    shelf = drawn(rows, dimension, classes, seed, coarse)
    query = asked(shelf, count if rows else 0, seed, groups)
    if not rows:
        query = Query(unit(np.ones((2, dimension))), np.ones((2, classes), np.float32) / classes)
    weight = (0.5, 0.0, 1.0, 0.3)[seed % 4]
    found = nearest(query, shelf, k, mode, weight)
    scores, expected = brute(query, shelf, k, mode, weight)
    np.testing.assert_array_equal(found.rows, expected)
    np.testing.assert_array_equal(found.scores, scores)
    assert [array.dtype for array in found] == [np.float32, np.int64, np.float32]
    if mode != "soft":
        np.testing.assert_array_equal(found.cosines, found.scores)
    there = found.rows >= 0
    cosines = np.einsum("qd,qkd->qk", query.vectors, shelf.matrix[found.rows]) if rows else 0
    np.testing.assert_allclose(found.cosines[there], (cosines + 0 * found.rows)[there], atol=1e-6)
    assert np.isneginf(found.cosines[~there]).all()


@pytest.mark.parametrize("mode", MODES)
def test_many_rows_and_queries(mode: Any) -> None:
    shelf = drawn(3000, 24, 4, seed=5)
    query = asked(shelf, 20)
    scores, rows = brute(query, shelf, 15, mode)
    found = nearest(query, shelf, 15, mode)
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_array_equal(found.scores, scores)


@pytest.mark.parametrize("count", [1, 5, 300])
@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_it_is_scikit_learns(count: int, kind: type) -> None:
    shelf = Shelf.of(drawn(20000, 32).matrix.astype(kind))
    vectors = unit(np.random.default_rng(2).normal(size=(count, 32)))
    peer = NearestNeighbors(n_neighbors=10, algorithm="brute", metric="euclidean")
    peer.fit(unit(shelf.matrix).astype(np.float64))
    _, rows = peer.kneighbors(vectors.astype(np.float64))
    found = nearest(Query(vectors), Shelf.of(unit(shelf.matrix)), 10, "off")
    np.testing.assert_array_equal(found.rows, rows)
    close = nearest(Query(vectors), shelf, 10, "off")  # lengths of float16 rows are not quite 1
    exact = vectors.astype(np.float64) @ shelf.matrix.astype(np.float64).T
    order = np.argsort(-exact.astype(np.float32), axis=1, kind="stable")[:, :10]
    np.testing.assert_array_equal(close.rows, order)


def test_it_is_faiss() -> None:
    import faiss

    matrix = drawn(5000, 48).matrix
    vectors = unit(np.random.default_rng(3).normal(size=(40, 48)))
    peer = faiss.IndexFlatIP(48)
    peer.add(matrix)
    scores, rows = peer.search(vectors, 12)
    found = nearest(Query(vectors), Shelf.of(matrix), 12, "off")
    np.testing.assert_allclose(found.scores, scores, atol=1e-6)
    assert (found.rows == rows).mean() > 0.99  # its float32 sums may turn two neighbours round


@pytest.mark.usefixtures("budget")
@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_the_same_bits_whatever_the_threads_the_blocks_and_the_batch(
    kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = drawn(5000, 40, 6)
    shelf = shelf._replace(matrix=shelf.matrix.astype(kind))
    shelf.matrix[2500:] = shelf.matrix[:2500]  # pairs that only their places tell apart
    query = asked(shelf, 150)
    expected = nearest(query, shelf, 9)
    for threads in (1, 2, 4):
        set_num_threads(threads)
        same(nearest(query, shelf, 9), expected)
    with use_backend("numpy"):
        same(nearest(query, shelf, 9), expected)
    for i in (0, 70):
        alone = Query(*(array[i : i + 1] for array in query if array is not None))
        same(nearest(alone, shelf, 9), Found(*(array[i : i + 1] for array in expected)))
    for step in (64, 333):
        monkeypatch.setattr(Scoring, "step", step)
        same(nearest(query, shelf, 9), expected)


def test_equal_vectors_are_in_the_order_of_their_rows() -> None:
    """Also where all rows are: then none can be dropped by its float32 score."""
    row = unit(np.random.default_rng(0).normal(size=(1, 33)))
    shelf = Shelf.of(np.repeat(row, 20000, axis=0))
    found = nearest(Query(np.repeat(row, 3, axis=0)), shelf, 4, "off")
    np.testing.assert_array_equal(found.rows, [[0, 1, 2, 3]] * 3)
    assert len(np.unique(found.scores)) == 1


def test_scores_nearer_than_float32_sums_are_told_apart() -> None:
    """The last digits of BLAS's sums would put these in an order of their own."""
    rng = np.random.default_rng(4)
    row = unit(rng.random(500))
    shelf = Shelf.of(unit(row + 2e-7 * rng.normal(size=(9000, 500))))
    query = Query(row[None])
    exact = (shelf.matrix.astype(np.float64) @ row.astype(np.float64)).astype(np.float32)
    order = np.argsort(-exact, kind="stable")[:20]
    np.testing.assert_array_equal(nearest(query, shelf, 20, "off").rows[0], order)


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("dimension", [3, 512, 4096])
def test_blas_is_within_the_margin(dimension: int, positive: bool) -> None:
    rng = np.random.default_rng(dimension)
    points = rng.normal(size=(600, dimension))
    shelf = Shelf.of(unit(np.abs(points) if positive else points))
    for count in (1, 3, 20, 200):
        engine = Scoring(Query(shelf.matrix[:count]), shelf, "off", 0.5)
        queries, rows = np.divmod(np.arange(count * 600), 600)
        error = engine.block(0, 600, Buffers()).reshape(-1) - engine.exact(queries, rows)[0]
        assert np.abs(error).max() < engine.margin / 3


def test_mapped_and_in_memory_are_the_same(tmp_path: Path) -> None:
    shelf = drawn(3000, 20)
    for kind in (np.float32, np.float16):
        (tmp_path / "rows").write_bytes(shelf.matrix.astype(kind).tobytes())
        mapped = np.memmap(tmp_path / "rows", kind, "r", shape=shelf.matrix.shape)
        inside = nearest(asked(shelf, 9), shelf._replace(matrix=shelf.matrix.astype(kind)), 5)
        same(nearest(asked(shelf, 9), shelf._replace(matrix=mapped), 5), inside)


def test_every_float16_is_widened_exactly() -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    wide = np.empty(len(halves), np.float32)
    widen(halves, wide)
    np.testing.assert_array_equal(wide.view(np.uint32), halves.astype(np.float32).view(np.uint32))


def test_given_roots_change_nothing() -> None:
    shelf = drawn(2000, 12)
    query = asked(shelf, 30)
    same(
        nearest(query, shelf._replace(roots=np.sqrt(shelf.probabilities)), 7),
        nearest(query, shelf, 7),
    )
    zeros = shelf._replace(roots=np.zeros_like(shelf.probabilities))  # they are what is read
    assert (nearest(query, zeros, 7).rows != nearest(query, shelf, 7).rows).any()


def test_the_own_group_dead_rows_and_other_classes_are_left_out() -> None:
    shelf = Shelf.of(
        unit([[1, 0], [1, 0.1], [1, 0.2], [1, 0.3], [0, 1]]),
        probabilities=[[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.9, 0.1], [0.9, 0.1]],
        groups=[7, 7, 0, 8, 0],
        alive=[True, True, True, False, True],
    )
    vector, classes = unit([[1, 0]]), np.float32([[0.8, 0.2]])
    for group, mode, rows in (
        (None, "off", [0, 1, 2, 4, -1]),
        (7, "off", [2, 4, -1, -1, -1]),
        (0, "off", [0, 1, 2, 4, -1]),
        (None, "hard", [0, 1, 4, -1, -1]),
        (7, "hard", [4, -1, -1, -1, -1]),
        (None, "soft", [0, 1, 2, 4, -1]),
    ):
        groups = None if group is None else np.array([group], np.uint64)
        found = nearest(Query(vector, classes, groups), shelf, 5, mode)  # type: ignore[arg-type]
        assert found.rows[0].tolist() == rows, (group, mode)
    # -1 is no class, and nobody's
    none = shelf._replace(predicted=np.full(5, -1, np.int32))
    assert (nearest(Query(vector, classes), none, 5, "hard").rows == -1).all()


@pytest.mark.parametrize("mode", MODES)
def test_pairs_are_left_out_as_in_blocks(mode: Any) -> None:
    shelf = drawn(400, 6, 3)
    groups = np.random.default_rng(0).integers(0, 4, 400).astype(np.uint64)  # many of nobody's
    shelf = shelf._replace(groups=groups)
    query = asked(shelf, 40)
    for part in (query, query._replace(groups=None)):
        engine = Scoring(part, shelf, mode, 0.5)
        queries, rows = np.divmod(np.arange(40 * 400), 400)
        there = np.isfinite(engine.block(0, 400, Buffers())).reshape(-1)
        np.testing.assert_array_equal(engine.allowed(queries, rows), there)
        if part.groups is not None:  # nobody's rows are found by nobody's queries
            assert there[(groups[rows] == 0) & (part.groups[queries] == 0)].any()


def test_rows_that_are_not_finite_are_never_found() -> None:
    shelf = drawn(4000, 8, classes=0)
    shelf = shelf._replace(matrix=shelf.matrix.copy(), alive=np.ones(4000, np.bool_))
    shelf.matrix[[0, 5, 100, 3999]] = np.nan
    vectors = unit(np.random.default_rng(1).normal(size=(3, 8)))
    for part in (vectors, vectors[:1]):
        found = nearest(Query(part), shelf, 2, "off")
        sums = np.nan_to_num(part @ shelf.matrix.T, nan=-9)
        np.testing.assert_array_equal(found.rows, np.argsort(-sums, axis=1)[:, :2])


@pytest.mark.parametrize("mode", MODES)
def test_all_scores(mode: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "FULL", 1000)
    shelf = drawn(200, 9)
    query = asked(shelf, 12)
    parts = list(scores_of(query, shelf, mode))
    assert [part for part, _ in parts] == [slice(0, 5), slice(5, 10), slice(10, 12)]
    scores = np.concatenate([scores for _, scores in parts])
    expected, rows = brute(query, shelf, 200, mode)
    full = np.full_like(scores, -np.inf)
    for i in range(12):
        full[i, rows[i][rows[i] >= 0]] = expected[i][rows[i] >= 0]
    np.testing.assert_array_equal(np.isneginf(scores), np.isneginf(full))
    there = np.isfinite(full)
    np.testing.assert_allclose(scores[there], full[there], atol=1e-6)


SMALL = Shelf.of(np.eye(3), probabilities=np.eye(3))
ONE = unit([[1, 2, 3]])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"k": 0}, DataError, "k of at least 1; got k 0"),
        ({"k": 2.5}, KindError, "a whole number k"),
        ({"mode": "fuzzy"}, KindError, "a mode out of off, soft, hard; got mode 'fuzzy'"),
        ({"weight": 1.5}, DataError, "a weight from 0 to 1"),
        ({"weight": float("nan")}, DataError, "a weight from 0 to 1"),
        ({"query": Query(ONE)}, DataError, "for mode 'soft'; the query came without; .*'off'"),
        ({"shelf": Shelf.of(np.eye(3))}, DataError, "the images came without"),
        ({"query": Query(unit([[1, 2]]))}, DataError, r"query vectors \(Q, 3\)"),
        ({"query": Query(ONE[0])}, DataError, r"query vectors \(Q, 3\)"),
        ({"query": Query(2 * ONE)}, DataError, "of length 1; got row 0, length 2.0; divide"),
        ({"query": Query(ONE * np.nan)}, DataError, "finite vectors; got row 0; NaN or inf"),
        ({"query": Query(ONE, ONE * np.nan)}, DataError, "probabilities from 0 to 1"),
        ({"query": Query(ONE, -ONE)}, DataError, "probabilities from 0 to 1"),
        ({"query": Query(ONE, ONE[:, :2])}, DataError, r"query probabilities \(1, 3\)"),
        ({"query": Query(ONE, ONE, np.zeros(2))}, DataError, "a group for each of the 1"),
        ({"shelf": SMALL._replace(matrix=np.eye(3))}, DataError, "float32 or float16"),
        ({"shelf": SMALL._replace(alive=np.ones(2, bool))}, DataError, r"alive \(3,\) of bool"),
        ({"shelf": SMALL._replace(groups=np.ones(3))}, DataError, "groups .* unsigned integers"),
        ({"shelf": SMALL._replace(roots=np.eye(2))}, DataError, r"roots \(3, 3\) of float32"),
        ({"shelf": SMALL._replace(probabilities=np.eye(3))}, DataError, r"\(3, K\) of float32"),
    ],
)
def test_refusals(change: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments = {"query": Query(ONE, ONE), "shelf": SMALL, "k": 1, "mode": "soft"} | change
    with pytest.raises(error, match=message):
        nearest(**arguments)


def test_a_zero_vector_is_no_error() -> None:
    found = nearest(Query(np.zeros((1, 3), np.float32)), SMALL, 2, "off")
    assert found.rows.tolist() == [[0, 1]]
    assert not found.scores.any()


MEMORY = """
import sys, threading, time
import numpy as np
from chainrule.retrieval.ranking import Query, Shelf, nearest

def anonymous():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024

def watch(over, seen):
    while not over.is_set():
        seen.append(anonymous())
        time.sleep(0.001)

path, kind, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
matrix = np.memmap(path, kind, "r").reshape(-1, 256)
shelf = Shelf(
    matrix, np.zeros((len(matrix), 0), np.float32), np.zeros(len(matrix), np.uint64),
    np.full(len(matrix), -1, np.int32), np.ones(len(matrix), bool),
)
vectors = matrix[:count].astype(np.float32)
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
nearest(Query(vectors), Shelf(*(a if a is None else a[:64] for a in shelf)), 1, "off")
before, seen, over = anonymous(), [], threading.Event()
watcher = threading.Thread(target=watch, args=(over, seen))
watcher.start()
nearest(Query(vectors), shelf, 10, "off")
over.set()
watcher.join()
print(max(seen) - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize(("kind", "count"), [("float32", 1), ("float32", 200), ("float16", 200)])
def test_a_mapped_matrix_stays_on_the_disk(tmp_path: Path, kind: str, count: int) -> None:
    """128 MB of rows are looked at with a few MB of working memory."""
    block = drawn(8192, 256, classes=0).matrix.astype(kind)
    with (tmp_path / "rows").open("wb") as file:
        for _ in range((128 << 20) // block.nbytes):
            file.write(block.tobytes())
    words = [sys.executable, "-c", MEMORY, str(tmp_path / "rows"), kind, str(count)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 48
