"""The page Training: the form, the runs, and one run as it goes."""

from __future__ import annotations

import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, jsonify, redirect, render_template, request, send_file
from werkzeug.wrappers import Response as AnyResponse

from chainrule.errors import ChainruleError, DataError
from chainrule.lab import standing, training_form
from chainrule.lab.jobs import Busy, rate
from chainrule.lab.live import read_live, score_of
from chainrule.lab.mistakes import said
from chainrule.lab.pipes import PAUSED
from chainrule.lab.query import Query, link
from chainrule.lab.runs import changes, findings, health, stamp
from chainrule.lab.standing import Standing
from chainrule.lab.training_tables import epoch_table, health_table
from chainrule.lab.workshop import Workshop, workshop
from chainrule.models.registry import MODELS
from chainrule.training.folder import CHANGES, LIVE, METRICS_LINES, free_folder
from chainrule.training.recipes import list_recipes
from chainrule.training.rows import Row

blueprint = Blueprint("training", __name__)

Answer = str | tuple[str, int] | AnyResponse

_DO = ("pause", "go", "stop", "rate")


@blueprint.get("/training")
def page() -> Answer:
    """Show a run if one is named, else the form and all runs."""
    query = Query()
    name = query.text("run")
    try:
        if name:
            return _run_page(name)
        return _start_page(_form(query))
    except ChainruleError as error:
        return _start_page(_plain_form(), str(error))


# The form and the runs


def _form(query: Query) -> training_form.Form:
    named, data = query.text("recipe"), query.text("path") or query.text("data")
    base = training_form.base_of(named, data)
    given = {name: query.text(name) for name in request.args if name != "recipe"}
    if data and not named:
        given.setdefault("data", "")
    form = training_form.filled(base, given)
    form.values["recipe"] = named
    return form


def _plain_form() -> training_form.Form:
    form = training_form.filled(training_form.base_of(""), {})
    form.values["recipe"] = ""
    return form


def _start_page(form: training_form.Form, problem: str = "", busy: str = "") -> Answer:
    shop = workshop()
    data = training_form.sets_here()
    if form.values["data"] not in data:
        data.append(form.values["data"])
    page = render_template(
        "training.html",
        page="training",
        form=form,
        lasting_address=link("training.page", form.values) if request.method == "POST" else "",
        problem=problem,
        busy=busy,
        number=shop.jobs.number(),
        recipes=list_recipes(),
        models=sorted(MODELS),
        data=data,
        main=training_form.MAIN,
        more=training_form.MORE,
        choices=training_form,
        folder=shop.settings.folder,
        **_list(shop),
    )
    return (page, 400) if problem else page


def _list(shop: Workshop) -> dict[str, Any]:
    job, runs = shop.jobs.current, shop.runs.all()
    found = [standing.standing(run, shop.jobs.get(run.name)) for run in runs]
    if job is not None and job.name not in {run.name for run in runs}:
        found.insert(0, standing.standing(None, job))
    return {"runs": sorted(found, key=lambda each: not each.alive)}


@blueprint.post("/training/start")
def start() -> Answer:
    """Begin a training, once for each form that was shown; then show it."""
    shop, query = workshop(), Query(request.form)
    form = _plain_form()
    try:
        once = query.text("once")
        given = {name: query.text(name) for name in request.form}
        form.values |= {name: text for name, text in given.items() if name in form.values}
        named, form.values["recipe"] = form.values["recipe"], ""
        form = training_form.filled(training_form.base_of(named), given)
        config = training_form.read(form)
        if config is None:
            return _start_page(form, form.problem)
        if not shop.jobs.known(once):
            raise DataError(
                "this form is of another start of the lab; your choices are kept in it: look "
                "them through and press Start again"
            )
        name = form.values["name"]
        begun = shop.jobs.used(once)
        name = begun if begun and name in ("", begun) else name  # the same form, sent again
        path = shop.runs.path(name) if name else free_folder(shop.settings.folder, config)
        return _to(shop.jobs.start(path, config, once, training_form.command_of(config)).name)
    except Busy as error:
        return _start_page(form, str(error), error.name)
    except ChainruleError as error:
        return _start_page(form, str(error))


# One run


@blueprint.post("/training/order")
def order() -> Answer:
    """Give the training that runs an order: pause, go, stop, or another rate."""
    shop, query = workshop(), Query(request.form)
    name = query.text("run")
    typed = query.text("peak")
    try:
        do = query.choice("do", _DO)
        if not do:
            raise DataError(f"do: expected one of {', '.join(_DO)}")
        job = shop.jobs.get(name)
        if job is None or not job.trains:
            raise DataError(f"{name[:60]!r} is not being trained (any more)")
        job.order(do, **({"peak": rate(typed)} if do == "rate" else {}))
    except ChainruleError as error:
        return _run_page(name, str(error), typed)
    return _to(name)


@blueprint.post("/training/resume")
def resume() -> Answer:
    """Go on with a run where it stopped."""
    shop, query = workshop(), Query(request.form)
    name, typed = query.text("run"), query.text("peak")
    try:
        run = shop.runs.get(name)
        now = _standing(shop, name)
        if not now.alive:
            if run.config is None or not now.resumable:
                raise DataError(f"{name[:60]!r} cannot go on: {now.sentence}")
            shop.jobs.resume(run.path, run.config, rate(typed) if typed else None)
    except Busy as error:
        return _run_page(name, str(error), typed, error.name)
    except ChainruleError as error:
        return _run_page(name, str(error), typed)
    return _to(name)


def _to(name: str) -> AnyResponse:
    return redirect(link("training.page", run=name), 303)


def _standing(shop: Workshop, name: str) -> Standing:
    """Say how a run stands; DataError if there is none of this name."""
    job = shop.jobs.get(name)
    try:
        run = None if job is not None and job.alive else shop.runs.get(name)
    except DataError:
        if job is None:
            raise
        run = None
    return standing.standing(run, job)


def _run_page(name: str, problem: str = "", typed: str = "", busy: str = "") -> Answer:
    shop = workshop()
    try:
        now = _standing(shop, name)
    except DataError as error:
        return _start_page(_plain_form(), problem or str(error))
    page = render_template(
        "training_run.html",
        page="training",
        problem=problem,
        typed=typed,
        busy=busy,
        lasting_address=link("training.page", run=name),
        plotly=_plotly_version(),
        **_shown(shop, now),
        **_epochs(shop, now),
        **_health(now),
        **_mistakes(shop, now),
    )
    return (page, 400) if problem else page


@blueprint.get("/training/part/<part>")
def part(part: str) -> Answer:
    """Give a part of a run's page anew: what is asked for each second."""
    shop = workshop()
    if part == "runs":
        return render_template("parts/training_runs.html", **_list(shop))
    if part not in _PARTS:
        raise DataError(f"part: expected one of {', '.join(_PARTS)}")
    query = Query()
    now, typed = _standing(shop, query.text("run")), query.text("typed")
    values = {
        "controls": lambda: _shown(shop, now),
        "status": lambda: _shown(shop, now),
        "epochs": lambda: _epochs(shop, now),
        "health": lambda: _health(now),
        "mistakes": lambda: _mistakes(shop, now),
    }[part]()
    return render_template(f"parts/training_{part}.html", typed=typed, busy="", **values)


_PARTS = ("controls", "status", "epochs", "health", "mistakes")


def _shown(shop: Workshop, now: Standing) -> dict[str, Any]:
    config = now.config
    return {
        "now": now,
        "paused": now.state == PAUSED,
        "command": shlex.join(training_form.command_of(config)) if config else "",
        "again": link("training.page", _state(now)) if config else "",
        "short": standing.number,
        "other": shop.jobs.current,
    }


def _state(now: Standing) -> dict[str, str]:
    """Give the address's values that fill the form with a run's choices."""
    assert now.config is not None
    form = training_form.filled(now.config, {})
    known = form.values["recipe"] in list_recipes()
    return {**form.values, "recipe": form.values["recipe"] if known else ""}


def _epochs(shop: Workshop, now: Standing) -> dict[str, Any]:
    return {"table": epoch_table(_rows(shop, now)), "changes": changes(now.path)}


def _rows(shop: Workshop, now: Standing) -> list[Row]:
    try:
        return shop.runs.get(now.name).rows
    except DataError:  # nothing is written yet
        return []


def _health(now: Standing) -> dict[str, Any]:
    measured = health(now.path)
    return {
        "measured": measured,
        "layers": health_table(measured) if measured else None,
        "findings": findings(now.path),
    }


def _mistakes(shop: Workshop, now: Standing) -> dict[str, Any]:
    found = None
    if now.weights:
        try:
            found = shop.mistakes.newest(shop.runs.get(now.name))
        except DataError:
            found = None
    return {
        "found": found,
        "said": said(found) if found is not None and not found.problem else "",
        "name": now.name,
        "weights": now.weights,
    }


# Curves


@blueprint.get("/training/curves")
def curves() -> AnyResponse:
    """Give the curves of a run as JSON; nothing where they are those that were `seen`."""
    shop, query = workshop(), Query()
    now = _standing(shop, query.text("run"))
    stamps = [stamp(now.path / name) for name in (LIVE, METRICS_LINES, CHANGES)]
    tag = "-".join(str(number) for pair in stamps for number in pair)
    if query.text("seen") == tag:
        return Response(status=204)
    live = read_live(now.path)
    score = score_of(live[-1])[0] if live else ""
    rows = [row.to_dict() for row in _rows(shop, now)]
    score = score or next((s for s in standing.NAMES if rows and f"test_{s}" in rows[-1]), "")
    return jsonify(
        tag=tag,
        score=score,
        title=standing.NAMES.get(score, ""),
        percent=score not in ("", "mae"),
        live=[[m["epoch"], m.get("loss"), m.get(score), m.get("lr")] for m in live],
        rows=rows,
        changes=[[change.epoch, change.peak] for change in changes(now.path)],
    )


@blueprint.get("/training/plotly.js")
def plotly() -> AnyResponse:
    """Give plotly.js as the package plotly brings it."""
    found = find_spec("plotly")
    if found is None or found.origin is None:
        raise DataError("curves are drawn by plotly; pip install chainrule[lab]")
    path = Path(found.origin).parent / "package_data" / "plotly.min.js"
    response = send_file(path, mimetype="text/javascript", max_age=31_536_000)
    response.cache_control.public = True  # it is the same for everybody, and its address says which
    return response


def _plotly_version() -> str:
    found = find_spec("plotly")
    if found is None or found.origin is None:
        return ""
    path = Path(found.origin).parent / "package_data" / "plotly.min.js"
    return "-".join(map(str, stamp(path)))
