"""What takes long the first time, done in the background once the server answers."""

from __future__ import annotations

import contextlib
from importlib import import_module
from threading import Thread

from chainrule.errors import ChainruleError
from chainrule.inspection.figures import figure_png, image_figure
from chainrule.lab.choosing import seen
from chainrule.lab.looks import DRAWS, answer_of
from chainrule.lab.workshop import Workshop

_HEAVY = ("PIL.Image", "matplotlib.backends.backend_agg", "pygraphviz", "sklearn.datasets")


def begin_warming(shop: Workshop) -> Thread:
    """Load what pages will need, so that the first click is as quick as the next; ends by itself.

    What is missing or fails is for the page that needs it to tell.
    """
    thread = Thread(target=_warm, args=(shop,), name="warming", daemon=True)
    thread.start()
    return thread


def _warm(shop: Workshop) -> None:
    for name in _HEAVY:
        with contextlib.suppress(ImportError):
            import_module(name)
    with contextlib.suppress(ChainruleError, OSError):  # the network that is shown first
        subject = shop.subjects.get("")
        answer_of(subject, seen(subject, subject.samples()[0].name, shop.pictures))
    with contextlib.suppress(ChainruleError, OSError):  # and that of the index that is named
        if shop.settings.indexes:
            _ = shop.indexes.get("").index.network
    with contextlib.suppress(ChainruleError), DRAWS:  # fonts are read with the first figure
        figure_png(image_figure([[[0.0, 1.0]]], "0.1"))
