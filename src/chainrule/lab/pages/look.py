"""The page of that name."""

from __future__ import annotations

from flask import Blueprint, render_template

blueprint = Blueprint("look", __name__)


@blueprint.get("/look")
def page() -> str:
    """Show it."""
    return render_template("look.html", page="look")
