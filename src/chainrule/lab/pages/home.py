"""The first page: what there is, and the runs."""

from __future__ import annotations

from flask import Blueprint, render_template

from chainrule.lab.workshop import workshop

blueprint = Blueprint("home", __name__)


@blueprint.get("/")
def page() -> str:
    """Show what there is."""
    shop = workshop()
    runs = list(shop.subjects.runs())
    return render_template("home.html", runs=runs, folder=shop.settings.folder)
