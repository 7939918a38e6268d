"""The first page: what there is, and the runs."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from flask import Blueprint, render_template

from chainrule.errors import ChainruleError
from chainrule.lab.workshop import workshop
from chainrule.training.folder import WEIGHTS, RunFolder

blueprint = Blueprint("home", __name__)

MOST = 50
"""Runs that are listed, the newest."""


class Row(NamedTuple):
    """A run as it is listed: `problem` says why it cannot be used, "" if it can."""

    name: str
    network: str
    data: str
    changed: str
    problem: str


@blueprint.get("/")
def page() -> str:
    """Show what there is."""
    shop = workshop()
    runs = shop.subjects.runs()
    rows = [_row(name, path) for name, path in list(runs.items())[:MOST]]
    folder = shop.settings.folder
    return render_template("home.html", rows=rows, more=len(runs) - len(rows), folder=folder)


def _row(name: str, path: Path) -> Row:
    try:
        changed = datetime.fromtimestamp((path / WEIGHTS).stat().st_mtime)
        train = RunFolder(path).read_config().train
    except (ChainruleError, OSError) as error:
        return Row(name, "", "", "", str(error))
    return Row(name, train.model, train.data, f"{changed:%Y-%m-%d %H:%M}", "")
