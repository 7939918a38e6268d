"""The page of that name."""

from __future__ import annotations

from flask import Blueprint, render_template

blueprint = Blueprint("training", __name__)


@blueprint.get("/training")
def page() -> str:
    """Show it."""
    return render_template("training.html", page="training")
