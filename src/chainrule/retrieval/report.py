"""An index's evaluation as tables and pictures in a folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from chainrule.engine.op import Array
from chainrule.errors import DataError
from chainrule.retrieval.evaluation_files import write
from chainrule.retrieval.examples import Examples, choose
from chainrule.retrieval.measuring import Measured
from chainrule.retrieval.thumbnails import opened


def write_report(
    folder: str | os.PathLike[str], measured: Measured, settings: Mapping[str, Any]
) -> list[str]:
    """Write all that was measured; gives what is to be said, such as which picture is left out.

    The tables name queries by their ids and nothing else of them.
    """
    queries, snapshot = measured.queries, measured.snapshot
    examples, why = None, "the index keeps no small pictures"
    if not choose(measured.evaluation, 1):
        why = "no query has an image of its class to be found"
    elif all(queries.thumbnails) and snapshot.settings.thumbnail:
        examples = Examples(
            query=lambda number: opened(queries.thumbnails[number]),
            row=lambda row: _row(measured, row),
        )
    facts = {
        **settings,
        "near_duplicates": measured.near,
        "left_out": len(queries.skipped),
        "features": snapshot.settings.dimension,
        "layer": snapshot.settings.layer,
    }
    written = write(
        folder,
        measured.evaluation,
        measured.classes,
        settings=facts,
        ids=queries.ids,
        examples=examples,
    )
    notes = [f"{name} is left out: {reason}" for name, reason in written.left_out.items()]
    if examples is None:
        notes.append(f"examples.png is left out: {why}")
    return notes


def _row(measured: Measured, row: int) -> Array:
    (entry,) = measured.snapshot.entries([int(measured.own_rows[row])])
    if entry is None:
        raise DataError("evaluate: an image was removed while its picture was looked for")
    return opened(entry.thumbnail)
