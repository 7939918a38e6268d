"""Exact and approximate search, beside bare products, faiss and usearch.

    python benchmarks/retrieval.py [--rows N] [--dimension D] [--queries Q] [--rounds R] [--quick]

Each round calls everything once, in another order than the round before and with a rest between,
since BLAS's and OpenMP's threads spin for a while after each call; printed are the median of the
rounds' ratios and its quartiles.  The rows are drawn around centres, so that a graph of neighbours
has something to find.  `--only` picks parts: one, batch, graph, memory,
build (an index out of pictures).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from report import line

from chainrule.engine.threads import hold_blas, release_blas
from chainrule.retrieval.approximate import Graph, nearest_approximate, recall_at
from chainrule.retrieval.making import Source, build_index
from chainrule.retrieval.ranking import nearest
from chainrule.retrieval.shelf import Query, Shelf
from chainrule.training.config import TrainConfig
from chainrule.training.task import TrainTask

K, CLASSES, CENTRES, SPREAD = 10, 10, 500, 0.7
CLASSES_BUILT, BUILD_BAR = 6, 60.0
ONE_BAR, BATCH_BAR, MEMORY_BAR = 1.3, 1 / 0.7, 300.0
REST = 0.15
"""Seconds after which the threads of the call before have gone to sleep."""

Call = Callable[[], object]


def drawn(rows: int, dimension: int, count: int) -> tuple[Shelf, Query]:
    """Draw rows around centres, and queries that are near some of them but equal to none."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((CENTRES, dimension), dtype=np.float32)
    matrix = centres[rng.integers(0, CENTRES, rows)]
    matrix += SPREAD * rng.standard_normal(matrix.shape, dtype=np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    vectors = matrix[rng.integers(0, rows, count)]
    vectors += 0.5 / np.sqrt(dimension) * rng.standard_normal(vectors.shape, dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    classes = rng.dirichlet(np.ones(CLASSES), rows).astype(np.float32)
    asked = rng.dirichlet(np.ones(CLASSES), count).astype(np.float32)
    return Shelf.of(matrix, probabilities=classes), Query(vectors, asked)


def bare(a: Any, b: Any) -> object:
    """Multiply with all of BLAS's own threads."""
    return a @ b


def rounds_of(calls: dict[str, Call], rounds: int, warm: int = 1) -> dict[str, list[float]]:
    """Time every call once a round, beginning with another one each time."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for turn in range(warm + rounds):
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            (release_blas if name == "product" else hold_blas)()
            time.sleep(REST)
            begin = time.perf_counter()
            calls[name]()
            if turn >= warm:
                times[name].append(time.perf_counter() - begin)
    return times


def show(times: dict[str, list[float]], base: str, bars: dict[str, float]) -> None:
    """Print each call's time, and its ratio to the base's in the same round."""
    line(f"  {base}", f"{1e3 * float(np.median(times[base])):.2f} ms")
    for name in times:
        if name == base:
            continue
        ratios = np.divide(times[name], times[base])
        low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
        bar = bars.get(name)
        text = f"{1e3 * float(np.median(times[name])):.2f} ms, {middle:.2f} x"
        told = f"quartiles {low:.2f} to {high:.2f}" + (f", bar: {bar:.2f}" if bar else "")
        line(f"  {name}", text, told, middle <= bar if bar else None)


def peers(matrix: Any, vectors: Any) -> dict[str, Call]:
    """Give the searches of faiss and usearch, of those that are installed."""
    calls: dict[str, Call] = {}
    try:
        import faiss

        flat = faiss.IndexFlatIP(matrix.shape[1])
        flat.add(matrix)
        calls["faiss IndexFlatIP"] = partial(flat.search, vectors, K)
    except ImportError:
        print("faiss-cpu is not installed")
    try:
        from usearch.index import MetricKind, search

        exact = partial(search, matrix, vectors, K, MetricKind.IP, exact=True)
        calls["usearch exact"] = exact
    except ImportError:
        print("usearch is not installed")
    return calls


def measure_one(shelf: Shelf, query: Query, rounds: int) -> None:
    """One query, beside the product of the matrix and the vector."""
    single = query.taken(slice(1))
    half = shelf._replace(matrix=shelf.matrix.astype(np.float16))
    calls: dict[str, Call] = {"product": partial(bare, shelf.matrix, single.vectors[0])}
    for mode in ("off", "soft", "hard"):
        calls[mode] = partial(nearest, single, shelf, K, mode)
    calls["off, float16"] = partial(nearest, single, half, K, "off")
    calls |= peers(shelf.matrix, single.vectors)
    print(f"one query, {shelf.matrix.shape[0]} x {shelf.matrix.shape[1]}, k = {K}")
    show(rounds_of(calls, rounds), "product", {"off": ONE_BAR, "soft": ONE_BAR, "hard": ONE_BAR})


def measure_batch(shelf: Shelf, query: Query, rounds: int) -> None:
    """A batch of queries, beside the product of the two matrices."""
    calls: dict[str, Call] = {"product": partial(bare, query.vectors, shelf.matrix.T)}
    half = shelf._replace(matrix=shelf.matrix.astype(np.float16))
    for mode in ("off", "soft", "hard"):
        calls[mode] = partial(nearest, query, shelf, K, mode)
    calls["off, float16"] = partial(nearest, query, half, K, "off")
    found = peers(shelf.matrix, query.vectors)
    found.pop("usearch exact", None)  # pair by pair: half a minute
    count = len(query.vectors)
    print(f"{count} queries, {shelf.matrix.shape[0]} x {shelf.matrix.shape[1]}, k = {K}")
    times = rounds_of(calls | found, rounds)
    work = 2.0 * count * shelf.matrix.size
    line("  sgemm", f"{work / float(np.median(times['product'])) / 1e9:.0f} GFLOP/s")
    show(times, "product", {"off": BATCH_BAR, "soft": BATCH_BAR})


def measure_graph(shelf: Shelf, query: Query, rounds: int) -> None:
    """A graph of neighbours: how long it takes, what it finds, and how fast."""
    rows = len(shelf.matrix)
    begin = time.perf_counter()
    graph = Graph.build(shelf.matrix)
    taken = time.perf_counter() - begin
    size = len(graph.to_bytes()) / 2**20
    print(f"graph of {rows} rows")
    line("  built in", f"{taken:.1f} s, {size:.0f} MiB")
    line("  recall at 10, re-ranked", f"{recall_at(graph, shelf, rows, K, samples=500):.4f}")
    single = query.taken(slice(1))
    calls: dict[str, Call] = {"exact": partial(nearest, single, shelf, K, "off")}
    calls["graph, re-ranked"] = partial(nearest_approximate, single, shelf, graph, rows, K, "off")
    calls["graph alone"] = partial(graph.candidates, single.vectors, K)
    show(rounds_of(calls, rounds), "exact", {})


def anonymous() -> float:
    """Give this process's memory that is no page of a file, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(text.split()[1]) for text in lines if text.startswith("RssAnon")) / 1024


def look_through(path: str, dimension: int, count: int) -> None:
    """Search a mapped matrix; print the most anonymous memory meanwhile (a child's work)."""
    matrix = np.memmap(path, np.float32, "r").reshape(-1, dimension)
    vectors = matrix[:count] / np.linalg.norm(matrix[:count], axis=1, keepdims=True)
    n = len(matrix)
    shelf = Shelf(
        matrix,
        np.zeros((n, 0), np.float32),
        np.zeros(n, np.uint64),
        np.full(n, -1, np.int32),
        np.ones(n, np.bool_),
    )
    seen, over = [anonymous()], threading.Event()

    def watch() -> None:
        while not over.wait(0.002):
            seen.append(anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    nearest(Query(vectors), shelf, K, "off")
    over.set()
    watcher.join()
    print(max(seen))


def measure_memory(dimension: int, megabytes: int, counts: Sequence[int]) -> None:
    """Search a mapped file in a process of its own and print its anonymous memory."""
    if not Path("/proc/self/status").exists():
        print("memory is read from /proc, which is not here")
        return
    block, _ = drawn((64 << 20) // (4 * dimension), dimension, 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows")
        with path.open("wb") as file:
            for _ in range(megabytes // 64):
                block.matrix.tofile(file)
        for count in counts:
            words = [sys.executable, __file__, "--child", str(path), str(dimension), str(count)]
            done = subprocess.run(words, capture_output=True, text=True, check=True)
            most = float(done.stdout)
            what = f"mapped matrix of {megabytes} MiB, queries: {count}"
            bar = f"bar: {MEMORY_BAR:.0f} MiB, the whole process"
            line(what, f"{most:.0f} MiB anonymous", bar, most < MEMORY_BAR)


def write_pictures(folder: Path, count: int) -> None:
    """Write grey JPEG files of 64x64, smooth and all different, in folders of six classes."""
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = rng.integers(0, 256, (9, 9), np.uint8)
        place = folder / f"class{number % CLASSES_BUILT}"
        place.mkdir(parents=True, exist_ok=True)
        smooth = Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC)
        smooth.save(place / f"{number:06}.jpeg", quality=90)


def measure_build(count: int, rounds: int) -> None:
    """An index of pictures by the retrieval network, decoding and writing included."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_pictures(folder / "few", 60)
        config = TrainConfig(
            model="retrieval_dcnn",
            data=str(folder / "few"),
            epochs=1,
            transforms=("Resize(64)", "Normalize()"),
        )
        TrainTask(config, folder / "run").run()
        write_pictures(folder / "pictures", count)
        taken = []
        for number in range(rounds):
            begin = time.perf_counter()
            out = folder / f"index{number}"
            report = build_index(folder / "run", Source(str(folder / "pictures")), out)
            taken.append(time.perf_counter() - begin)
            assert report.added == count, report
        middle = float(np.median(taken))
        bar = f"bar: {BUILD_BAR:.0f} s for 10,000"
        met = middle < BUILD_BAR * count / 10_000
        line(f"index of {count:,} pictures of 64x64", f"{middle:.1f} s", bar, met)
        line("  images a second", f"{count / middle:.0f}")


def main() -> None:
    """Print the figures of the parts that are asked for."""
    if sys.argv[1:2] == ["--child"]:
        look_through(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--megabytes", type=int, default=2048)
    parser.add_argument("--pictures", type=int, default=10_000, help="of the index that is built")
    parser.add_argument("--quick", action="store_true", help="see that it works")
    parts = ("one", "batch", "graph", "memory", "build")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    given = parser.parse_args()
    if given.quick:
        given.rows, given.queries, given.rounds, given.megabytes = 5000, 50, 2, 128
        given.pictures = 200
    shelf, query = drawn(given.rows, given.dimension, given.queries)
    if "one" in given.only:
        measure_one(shelf, query, given.rounds)
    if "batch" in given.only:
        measure_batch(shelf, query, max(2, given.rounds // 3))
    if "graph" in given.only:
        measure_graph(shelf, query, given.rounds)
    if "memory" in given.only:
        measure_memory(given.dimension, given.megabytes, (1, given.queries))
    if "build" in given.only:
        measure_build(given.pictures, max(1, given.rounds // 5))


if __name__ == "__main__":
    main()
