"""Every public argument of this room: what is wrong is refused in words, never by a raw error."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import inspection, nn
from chainrule.errors import ChainruleError
from chainrule.inspection import Limits

pytest.importorskip("matplotlib", reason="figures are in the demo extra")

WRONG: list[Any] = [
    "a", b"a", 2.5, float("nan"), float("inf"), -1, 0, True, None, object(), [], ["a"], [[]],
    (1, 2, 3, 4, 5), {}, {"a": 1}, len, np.zeros((2, 2), complex), np.array("a"), 1j, [None],
    [1, "a"], [[1], [1, 2]], np.array(["a", "b"]), cr.zeros(2),
]  # fmt: skip


def model() -> nn.Module:
    cr.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4), nn.ReLU(), nn.Linear(4, 2)
    )


IMAGES = np.random.default_rng(0).random((2, 1, 6, 6)).astype(np.float32)
POINTS = np.random.default_rng(0).normal(size=(6, 3))


def bowl(x: cr.Tensor, y: cr.Tensor) -> cr.Tensor:
    return x * x + y * y


def batches() -> list[Any]:
    return [(IMAGES, [0, 1])]


Call = tuple[Callable[..., Any], Callable[[], dict[str, Any]]]
one = IMAGES[0]
CALLS: dict[str, Call] = {
    "monitor": (cr.monitor, lambda: {"model": model(), "every": 3, "window": 2}),
    "limits": (Limits, lambda: {"dead": 0.5, "depth": 10.0}),
    "linear_regions": (
        cr.linear_regions,
        lambda: {"model": nn.Sequential(nn.Linear(2, 3), nn.ReLU()), "plane": (-1, 1, -1, 1)},
    ),
    "linear_regions of images": (
        cr.linear_regions,
        lambda: {"model": model(), "plane": np.random.default_rng(1).random((3, 1, 6, 6)),
                 "bounds": (0, 1, 0, 1), "limit": 5000},
    ),
    "zaslavsky": (inspection.zaslavsky, lambda: {"units": 3, "dimensions": 2}),
    "deep_bound": (inspection.deep_bound, lambda: {"widths": [3, 4], "dimensions": 2}),
    "loss_surface": (
        cr.loss_surface,
        lambda: {"surface": bowl, "optimizers": {"a": lambda w: cr.optim.SGD(w, lr=0.1)},
                 "steps": 2, "start": (1, 1), "plane": (-2, 2, -2, 2), "rate": 0.1,
                 "minima": [(0.0, 0.0)]},
    ),
    "integrated_gradients": (
        inspection.integrated_gradients,
        lambda: {"model": model(), "images": IMAGES, "target": 1, "baseline": 0.0, "steps": 2,
                 "tolerance": 0.1, "most": 8, "batch_size": 4},
    ),
    "occlusion": (
        inspection.occlusion,
        lambda: {"model": model(), "images": IMAGES, "target": 1, "size": 3, "stride": 2,
                 "fill": 0.0, "batch_size": 4},
    ),
    "saliency": (
        inspection.saliency,
        lambda: {"model": model(), "images": IMAGES, "target": 1, "layer": "3"},
    ),
    "guided_backprop": (
        inspection.guided_backprop, lambda: {"model": model(), "images": IMAGES, "target": 1}
    ),
    "deconvnet": (
        inspection.deconvnet, lambda: {"model": model(), "images": IMAGES, "layer": "0"}
    ),
    "grad_cam": (
        inspection.grad_cam,
        lambda: {"model": model(), "images": IMAGES, "target": 1, "layer": "0"},
    ),
    "last_maps": (inspection.last_maps, lambda: {"model": model(), "images": IMAGES}),
    "find_layer": (inspection.find_layer, lambda: {"model": model(), "name": "0"}),
    "image_grid": (
        inspection.image_grid,
        lambda: {"images": IMAGES, "columns": 1, "gap": 1, "background": 1.0},
    ),
    "grid_numbers": (inspection.grid_numbers, lambda: {"count": 5, "columns": 2}),
    "filter_grid": (
        inspection.filter_grid,
        lambda: {"model": model(), "layer": "0", "channel": 0, "columns": 2, "gap": 1},
    ),
    "activation_grid": (
        inspection.activation_grid,
        lambda: {"model": model(), "image": one, "layer": "0", "units": [0, 1], "columns": 2,
                 "gap": 1, "mean": [0.5], "std": [0.2]},
    ),
    "top_patches": (
        inspection.top_patches,
        lambda: {"model": model(), "layer": "0", "units": [0], "batches": batches(), "count": 1,
                 "mean": [0.5], "std": [0.2]},
    ),
    "embeddings": (
        inspection.embeddings,
        lambda: {"model": model(), "batches": batches(), "layer": "3", "mean": [0.5], "std": [0.2]},
    ),
    "pca": (inspection.pca, lambda: {"points": POINTS, "components": 2}),
    "tsne": (
        inspection.tsne, lambda: {"points": POINTS, "components": 2, "perplexity": 2.0, "seed": 0}
    ),
    "activation_maximization": (
        inspection.activation_maximization,
        lambda: {"model": model(), "layer": "0", "unit": 1, "size": (1, 6, 6), "position": (1, 1),
                 "steps": 2, "step_size": 0.1, "l2": 0.1, "decay": 0.1, "blur": 0.5,
                 "blur_every": 1, "jitter": 1, "start": one, "seed": 0, "mean": [0.5],
                 "std": [0.2]},
    ),
    "class_image": (
        inspection.class_image,
        lambda: {"model": model(), "label": 1, "size": (1, 6, 6), "steps": 2, "step_size": 0.1,
                 "l2": 0.1, "blur": 0.5, "jitter": 1, "start": one, "seed": 0},
    ),
    "deep_dream": (
        inspection.deep_dream,
        lambda: {"model": model(), "image": one, "layer": "0", "steps": 2, "octaves": 1},
    ),
    "style_transfer": (
        inspection.style_transfer,
        lambda: {"model": model(), "content": one, "style": one, "content_layers": ["0"],
                 "style_layers": ["1"], "steps": 2},
    ),
    "gram_matrix": (inspection.gram_matrix, lambda: {"maps": IMAGES}),
    "image_figure": (
        inspection.image_figure,
        lambda: {"image": one, "title": "t", "scale": 2.0, "rows": ["0"], "columns": ["a"],
                 "gap": 1},
    ),
    "image_png": (inspection.image_png, lambda: {"image": one}),
    "embedding_figure": (
        inspection.embedding_figure,
        lambda: {"points": POINTS[:, :2], "targets": [0, 1, 0, 1, 0, 1], "classes": ["a", "b"],
                 "title": "t"},
    ),
    "show_attribution": (
        inspection.show_attribution, lambda: {"image": one, "map": one[0], "title": "t"}
    ),
    "Regions.plot": (
        cr.linear_regions(nn.Linear(2, 2), (-1, 1, -1, 1)).plot, lambda: {"output": 0, "title": ""}
    ),
    "Race.plot": (cr.loss_surface("valley", steps=1).plot, lambda: {"title": ""}),
    "Race.grid": (cr.loss_surface("valley", steps=1).grid, lambda: {"n": 3}),
}  # fmt: skip

FREE = {  # of no kind: booleans are asked for their truth, and callbacks are the caller's own
    "progress", "channels", "resize", "each",
}  # fmt: skip
ELSEWHERE = {  # tested in files of their own, or no functions of arguments
    "draw", "circuit", "explain", "look", "figure_png", "summary", "watching",
}  # fmt: skip


def test_every_public_function_is_here() -> None:
    functions = {
        name for name in inspection.__all__ if inspect.isfunction(getattr(inspection, name))
    }
    assert functions - ELSEWHERE <= {name.split()[0] for name in CALLS}


@pytest.mark.parametrize("name", CALLS)
def test_right_arguments_are_taken(name: str) -> None:
    function, arguments = CALLS[name]
    function(**arguments())


def arguments_of(name: str) -> list[str]:
    return [each for each in inspect.signature(CALLS[name][0]).parameters if each not in FREE]


KINDS: list[tuple[str, dict[str, Any], str]] = [
    ("monitor", {"every": "a"}, "monitor: expected every as a whole number"),
    ("linear_regions", {"limit": 2.5}, "linear_regions: expected limit as a whole number"),
    ("linear_regions", {"plane": "a"}, "linear_regions: expected real numbers as a plane"),
    ("loss_surface", {"steps": 2.5}, "loss_surface: expected steps as a whole number"),
    ("loss_surface", {"rate": "fast"}, "loss_surface: expected a number as rate"),
    ("loss_surface", {"start": 1}, "loss_surface: expected a sequence as start"),
    ("loss_surface", {"plane": ["a"] * 4}, "loss_surface: expected real numbers as plane"),
    ("loss_surface", {"minima": [1]}, "loss_surface: expected a sequence as minima"),
    ("loss_surface", {"optimizers": ["SGD"]}, "functions that give an optimiser, by name"),
    ("integrated_gradients", {"steps": 2.5}, "integrated_gradients: expected steps as a whole"),
    ("integrated_gradients", {"tolerance": "a"}, "expected a number as tolerance"),
    ("integrated_gradients", {"baseline": "black"}, "expected real numbers as baseline"),
    ("occlusion", {"fill": "grey"}, "occlusion: expected real numbers as fill"),
    ("occlusion", {"size": 2.5}, "occlusion size: expected an integer or a tuple of 2 integers"),
    ("saliency", {"layer": 3}, "saliency: expected a text as a layer's name"),
    ("image_figure", {"title": 3}, "image_figure: expected a text as title"),
]


@pytest.mark.parametrize(("name", "wrong", "words"), KINDS)
def test_the_words_name_the_argument_and_the_kind(
    name: str, wrong: dict[str, Any], words: str
) -> None:
    function, arguments = CALLS[name]
    with pytest.raises(cr.KindError, match=re.escape(words)):
        function(**{**arguments(), **wrong})


@pytest.mark.parametrize(
    ("name", "argument"), [(name, each) for name in CALLS for each in arguments_of(name)]
)
def test_wrong_arguments_are_refused_in_words(name: str, argument: str) -> None:
    function, arguments = CALLS[name]
    raw = []
    for wrong in WRONG:
        if argument == "surface" and wrong is len:
            continue  # a function of the caller's own, whose errors are its own
        given = {**arguments(), argument: wrong}
        try:
            function(**given)
        except ChainruleError:
            pass
        except Exception as error:
            raw.append(f"{argument}={wrong!r}: {type(error).__name__}: {error}")
    assert not raw, "\n".join(raw)
