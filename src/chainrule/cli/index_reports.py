"""`chainrule index info`, `verify`, `evaluate`: what is in an index, is it whole, how good."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from chainrule.cli.progress import counting
from chainrule.errors import DataError
from chainrule.retrieval.evaluation_files import to_dict
from chainrule.retrieval.index import CALIBRATION, GRAPH, WHITENING, Index
from chainrule.retrieval.making import Source
from chainrule.retrieval.measuring import Measured, calibrated, measure
from chainrule.retrieval.outliers import Calibration
from chainrule.retrieval.report import write_report
from chainrule.retrieval.verifying import verify as verified
from chainrule.retrieval.writing import Writer

Folder = Annotated[Path, typer.Argument(metavar="INDEX", help="The folder of an index.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write all numbers as JSON.")]


def info(index: Folder, as_json: AsJson = False) -> None:
    """Tell what an index holds: images, classes, patients, features, what it keeps of files."""
    facts = _facts(Index(index))
    if as_json:
        typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        shown = value
        if isinstance(value, dict):
            shown = ", ".join(f"{key} {number:,}" for key, number in value.items()) or "none"
        elif isinstance(value, list):
            shown = ", ".join(map(str, value)) or "none"
        elif isinstance(value, bool):
            shown = "yes" if value else "no"
        elif isinstance(value, int):
            shown = f"{value:,}"
        typer.echo(f"{name.replace('_', ' ').ljust(width)}  {shown}")


def _facts(index: Index) -> dict[str, Any]:
    snapshot, settings = index.snapshot, index.snapshot.settings
    alive = snapshot.alive
    labels = [snapshot.label_names[code] for code in snapshot.labels[alive] if code >= 0]
    predicted = [settings.classes[k] for k in snapshot.predicted[alive] if k >= 0]
    groups = snapshot.groups[alive]
    graph, note = snapshot.note(GRAPH), snapshot.note(CALIBRATION)
    size = sum(path.stat().st_size for path in index.path.rglob("*") if path.is_file())
    return {
        "images": int(np.count_nonzero(alive)),
        "patients": len(np.unique(groups[groups != 0])),
        "of_no_patient": int(np.count_nonzero(groups == 0)),
        "known_classes": dict(sorted(Counter(labels).items())),
        "predicted_classes": dict(sorted(Counter(predicted).items())),
        "features": settings.dimension,
        "layer": settings.layer or "the one before the last",
        "whitened": snapshot.note(WHITENING) is not None,
        "numbers": settings.dtype,
        "graph": "none" if graph is None else f"finds {100 * graph['recall']:.1f} % of the nearest",
        "outliers_told_by": "nothing yet" if note is None else _told_by(note),
        "keeps_paths": settings.keep_paths,
        "keeps_tags": list(settings.keep_tags),
        "small_pictures": f"{settings.thumbnail} pixels" if settings.thumbnail else "none",
        "key_is_here": index.hasher is not None,
        "left_out": len(snapshot.skipped()),
        "bytes": size,
    }


def _told_by(note: Any) -> str:
    if note is None:
        return "nothing yet"
    calibration = Calibration.from_dict(note)
    return f"{calibration.measured:,} distances, {calibration.kind}"


def verify(index: Folder) -> None:
    """Read every byte of an index and say what is not as it was written; nothing is changed."""
    with counting("per mille of a file") as step:
        problems = verified(index, lambda name, done: step(round(1000 * done), 1000))
    for problem in problems:
        typer.echo(f"{problem.level}: {problem.file}: {problem.what}; {problem.todo}")
    if not all(problem.usable for problem in problems):
        raise DataError(f"{index}: damaged; see above")
    typer.echo("whole: every byte is as it was written" if not problems else "usable")


Queries = Annotated[
    str | None,
    typer.Option(
        metavar="IMAGES",
        help="Pictures in folders of their classes, or a data set; a part of the index itself.",
        show_default="a fifth of the index, patients apart",
    ),
]
Part = Annotated[
    str, typer.Option(help="Of a data set: train, validation, test or all.", show_default="all")
]
DataDir = Annotated[str | None, typer.Option(help="Folder with the files of a named data set.")]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="Folder for tables (CSV, JSON) and pictures.")
]
Apart = Annotated[
    int,
    typer.Option(
        min=0,
        max=32,
        help="Leave out images whose looks (perceptual hash) differ in so few bits; 4 are "
        "near-duplicates.",
    ),
]
Share = Annotated[
    float, typer.Option(min=0.01, max=0.9, help="Part of the index that asks, without --queries.")
]
Calibrate = Annotated[
    bool,
    typer.Option("--calibrate", help="Tell outliers by these queries' distances from now on."),
]
Seed = Annotated[int, typer.Option(min=0, help="Of the part that is drawn, and of intervals.")]
Secondary = Annotated[bool, typer.Option("--secondary", help="Take secondary captures too.")]


def evaluate(
    index: Folder,
    queries: Queries = None,
    part: Part = "",
    data_dir: DataDir = None,
    out: Out = None,
    apart: Apart = 0,
    share: Share = 0.2,
    calibrate: Calibrate = False,
    seed: Seed = 0,
    secondary: Secondary = False,
    as_json: AsJson = False,
) -> None:
    """Measure an index: how far up images of the query's class are, with class prediction or not.

    Relevant is what has the query's class.  The query's own patient is left out; where nobody is
    known to be a patient, near-duplicates may flatter: see --apart.
    """
    if calibrate and queries is None:
        raise DataError("--calibrate: expected --queries, pictures that were held out")
    if queries is None and (part or data_dir is not None or secondary):
        raise DataError(
            "--part, --data-dir, --secondary: expected --queries, whose images they are"
        )
    opened = Index(index)
    source = None if queries is None else Source(queries, part, data_dir, secondary)
    with counting("files", quiet=as_json) as step:
        found = measure(opened, source, share=share, apart=apart, seed=seed, progress=step)
    if calibrate:
        with Writer(index) as writer:
            writer.note(CALIBRATION, calibrated(found).to_dict())
    if out is not None:
        notes = write_report(out, found, {"apart": apart, "seed": seed, "share": share})
    if as_json:
        typer.echo(json.dumps(_numbers(found), indent=2))
        return
    _show(found, apart)
    if out is not None:
        for note in notes:
            typer.echo(note)
        typer.echo(f"tables and pictures: {out}")


_COLUMNS = {
    "mAP": "ap",
    "mAP@10": "ap@10",
    "P@1": "p@1",
    "P@3": "p@3",
    "P@5": "p@5",
    "P@10": "p@10",
    "recall@10": "recall@10",
    "ACC@10": "acc@10",
}


def _show(found: Measured, apart: int) -> None:
    evaluation = found.evaluation
    count = int(np.count_nonzero(evaluation.labels >= 0))
    typer.echo(f"queries: {count:,} of known class; images: {len(found.own_rows):,}")
    if found.queries.skipped:
        typer.echo(f"left out, as they cannot be read: {len(found.queries.skipped):,}")
    if found.near and not apart:
        typer.echo(
            f"note: {found.near:,} queries have a near-duplicate among the images; --apart 4 "
            "leaves these out"
        )
    if evaluation.confusion is not None:
        typer.echo(f"class accuracy: {100 * evaluation.accuracy:.2f} %")
    typer.echo("  ".join(["class".ljust(6), *[name.rjust(9) for name in _COLUMNS]]))
    for mode, scores in evaluation.scores.items():
        cells = [f"{scores.means.get(key, float('nan')):.4f}".rjust(9) for key in _COLUMNS.values()]
        typer.echo("  ".join([mode.ljust(6), *cells]))
    for mode in ("soft", "hard"):
        if mode in evaluation.rankings:
            mean, low, high = evaluation.gain(mode)
            typer.echo(f"{mode} over off: mAP {mean:+.4f} (95 %: {low:+.4f} to {high:+.4f})")


def _numbers(found: Measured) -> dict[str, Any]:
    evaluation, all_of_it = found.evaluation, to_dict(found.evaluation, found.classes)
    return {
        "queries": int(np.count_nonzero(evaluation.labels >= 0)),
        "images": len(found.own_rows),
        "near_duplicates": found.near,
        "class_accuracy": _finite(evaluation.accuracy),
        "classes": all_of_it["classes"],
        "confusion": all_of_it["confusion"],
        "intervals": {mode: of["interval"] for mode, of in all_of_it["modes"].items()},
        "gain_over_off": all_of_it["gain_over_off"],
        "modes": {
            mode: {name: _finite(value) for name, value in scores.means.items()}
            for mode, scores in evaluation.scores.items()
        },
    }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
