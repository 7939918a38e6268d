"""The page of that name."""

from __future__ import annotations

from flask import Blueprint, render_template

blueprint = Blueprint("circuit", __name__)


@blueprint.get("/circuit")
def page() -> str:
    """Show it."""
    return render_template("circuit.html", page="circuit")
