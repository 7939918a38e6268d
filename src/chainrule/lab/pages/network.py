"""The page of that name."""

from __future__ import annotations

from flask import Blueprint, render_template

blueprint = Blueprint("network", __name__)


@blueprint.get("/network")
def page() -> str:
    """Show it."""
    return render_template("network.html", page="network")
