"""What is wrong with a training, in sentences: what is seen, where, why it happens, what to try."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass

from chainrule.inspection.given import setting
from chainrule.inspection.history import History

_DEPTH = 4  # layers from which on shallow and deep ones are compared
_LASTING = 3  # samples over which a fault must last
_LONG = 10  # samples after which a loss should have fallen
_STARTED = 5  # samples after which weights should have moved
_MOST = 0.8  # of the dead ReLUs of a layer
_ALIKE = 0.03  # spread of scores, over their size, below which images are alike to a network


@dataclass(frozen=True)
class Limits:
    """From where on something is a finding; what is healthy stays well within.

    `dead`: share of a layer's ReLUs.  `saturated`: share of a layer's values.  `depth`: factor
    between the gradients, or the values, of the first and the last third of the layers.
    `update_high`, `update_low`: the change of a step over the weight, about 1e-3 where all is
    well.  `improvement`: the part by which the loss has to fall.  Raises KindError for what is no
    number, ShapeError for one below 0.
    """

    dead: float = 0.5
    saturated: float = 0.8
    depth: float = 1e3
    update_high: float = 0.1
    update_low: float = 1e-6
    improvement: float = 0.01

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not (isinstance(value, float) and value == math.inf):  # which finds nothing
                setting("limits", 0.0, **{name: value})


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: its kind, the layer or parameter ("" for all), and the sentences.

    `step` is the sampled step at which it is seen, `value` the number that shows it.
    """

    kind: str
    layer: str
    text: str
    step: int
    value: float

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


def told(findings: Iterable[Finding]) -> list[str]:
    """Give lines to print: of each kind the first in full, the other layers by name.

    >>> told(Finding("dead-relu", layer, "Half ...", 1, 0.5) for layer in ("fc1", "fc2", "fc3"))
    ['dead-relu: Half ...', 'dead-relu, too: fc2, fc3']
    """
    lines = []
    kinds: dict[str, list[Finding]] = {}
    for finding in findings:
        kinds.setdefault(finding.kind, []).append(finding)
    for kind, (first, *others) in kinds.items():
        lines.append(str(first))
        if others:
            lines.append(f"{kind}, too: {', '.join(finding.layer for finding in others)}")
    return lines


def find(history: History, weights: Collection[str], limits: Limits) -> list[Finding]:
    """Give all findings of the last samples; `weights` names the parameters that are matrices.

    >>> find(History(5), (), Limits())
    []
    """
    if not history.samples:
        return []
    return [finding for rule in _RULES for finding in rule(history, weights, limits)]


def _not_finite(history: History, weights: Collection[str], limits: Limits) -> list[Finding]:
    last = history.samples[-1].get("gradient_rms", {})
    bad = [name for name, value in last.items() if not math.isfinite(value)]
    if not bad:
        return []
    text = (
        f"The gradient of {_some(bad)} is not finite. One step too large is enough: values "
        "overflow, and NaN spreads from there; so does one image with NaN in it. Try a smaller "
        "rate, gradients clipped by their norm, images that are checked by np.isfinite, and "
        "cr.detect_anomaly() to see where the first such number is made."
    )
    return [Finding("not-finite", bad[0], text, history.step, math.nan)]


def _dead(history: History, weights: Collection[str], limits: Limits) -> list[Finding]:
    found = []
    for layer, share in history.samples[-1].get("dead", {}).items():
        if share >= limits.dead:
            text = (
                f"{_percent(share)} of the ReLUs after {layer} are dead: they gave 0 for every "
                "image of the last samples. Where the input of a ReLU is negative for all images "
                "no gradient passes, so that the weights before it no longer learn. "
                f"{_why_dead(history, layer, share)}"
            )
            found.append(Finding("dead-relu", layer, text, history.step, share))
    return found


def _why_dead(history: History, layer: str, share: float) -> str:
    """Say where dead ReLUs come from: from how the network began, or from its steps."""
    if history.never_active.get(layer, 0.0) < _MOST * share:
        return (
            "It comes from a step that was too large, or from biases far below 0. Try a smaller "
            "rate, biases that begin at 0 and He's initial weights, batch norm before the ReLU, or "
            "a leaky ReLU."
        )
    if _spread(history) < _ALIKE and not _cut_off(history):
        return (
            "They were so from the first step on, and all images get nearly the same scores: the "
            "initial weights are so small that the images' differences shrink from layer to layer, "
            "until the biases alone decide, for all images alike. The initial weights of Linear "
            "and Conv2d do so in networks of many layers; no rate mends it. Try He's "
            "(cr.nn.init.kaiming_normal_) with biases that begin at 0, batch norm before the ReLU, "
            "or shortcuts as in a ResNet."
        )
    return (
        "They were so from the first step on, so that it is not the steps that did it: biases "
        "begin far below 0, or the weights and the images' values do not fit each other. Try "
        "biases that begin at 0 and He's initial weights, images of mean 0 and deviation 1, batch "
        "norm before the ReLU, or a leaky ReLU."
    )


def _spread(history: History) -> float:
    """Give how far the images' scores differ in the last samples, at most; infinity if unknown."""
    found = [sample.get("score_spread", {}).get("", math.inf) for sample in history.samples]
    return max(found, default=math.inf)


def _saturated(history: History, weights: Collection[str], limits: Limits) -> list[Finding]:
    found = []
    recent = history.recent("saturated", _LASTING)
    for layer, share in (recent[-1] if recent else {}).items():
        if all(sample.get(layer, 0.0) >= limits.saturated for sample in recent):
            text = (
                f"{_percent(share)} of the values of the sigmoid or tanh after {layer} are at its "
                "flat ends, where the slope is below 4 % of the steepest: hardly any gradient "
                "passes. The values before it are too large, because the weights or the inputs "
                "are. Try smaller initial weights (Xavier's), inputs of mean 0 and deviation 1, "
                "batch norm before it, or ReLU in its place."
            )
            found.append(Finding("saturated", layer, text, history.step, share))
    return found


def _gradients(history: History, weights: Collection[str], limits: Limits) -> list[Finding]:
    """Compare the gradients of the first and the last layers."""
    if _cut_off(history):
        return []  # no gradient passes a layer that is dead throughout: that is the finding
    recent = [
        [(name, value) for name, value in sample.items() if name in weights]
        for sample in history.recent("gradient_rms", _LASTING)
    ]
    ratios = [_ratio([value for _, value in sample]) for sample in recent]
    if not ratios:
        return []
    (first, low), (last, high), ratio = recent[-1][0], recent[-1][-1], ratios[-1]
    seen = f"root mean square {low:.1e} in {first}, {high:.1e} in {last}"
    if all(r < 1 / limits.depth for r in ratios):
        text = (
            f"The gradient vanishes on its way back: {seen}. Each layer multiplies it by the slope "
            "of its activation and by its weights, and here these products are below 1, so that "
            "the first layers hardly learn. Try ReLU in place of sigmoid or tanh, He's or Xavier's "
            "initial weights, batch norm, or shortcuts as in a ResNet."
        )
        return [Finding("vanishing-gradient", first, text, history.step, ratio)]
    if all(r > limits.depth for r in ratios):
        text = (
            f"The gradient explodes on its way back: {seen}. Each layer multiplies it by its "
            "weights, and these products are above 1. Try smaller initial weights (He's or "
            "Xavier's), batch norm, gradients clipped by their norm, or a smaller rate."
        )
        return [Finding("exploding-gradient", first, text, history.step, ratio)]
    return []


def _signal(history: History, weights: Collection[str], limits: Limits) -> list[Finding]:
    """Compare the values of the first layers with those of all others.

    Where ReLUs follow one another, the gradients of all layers' weights grow or shrink together
    with the values: nothing is seen by comparing gradients.
    """
    now = list(history.samples[-1].get("activation_rms", {}).items())
    if len(now) < _DEPTH or _cut_off(history):
        return []
    lowest, highest = _extremes([value for _, value in now])
    (first, begin), (last, end) = now[0], now[-1]
    if highest > limits.depth and end > 100:
        text = (
            "The values explode on their way through the network: root mean square "
            f"{begin:.1e} after {first}, {end:.1e} after {last}; the gradients of all weights grow "
            "with them, and the first steps overshoot. The weights multiply the signal by more "
            "than 1 in each layer. Try smaller initial weights (He's: deviation sqrt(2 / inputs)), "
            "batch norm, or gradients clipped by their norm."
        )
        return [Finding("exploding-signal", last, text, history.step, highest)]
    before = [
        _extremes(list(sample.values()))[0] for sample in history.recent("activation_rms", _LASTING)
    ]
    if before and max(before) < 1 / limits.depth:
        layer, least = min(now, key=lambda entry: entry[1])
        text = (
            "The values vanish on their way through the network: root mean square "
            f"{begin:.1e} after {first}, {least:.1e} after {layer}; the gradients of all weights "
            "shrink with them. The weights multiply the signal by less than 1 in each layer. Try "
            "larger initial weights (He's: deviation sqrt(2 / inputs)) or batch norm."
        )
        return [Finding("vanishing-signal", layer, text, history.step, lowest)]
    return []


def _updates(history: History, weights: Collection[str], limits: Limits) -> list[Finding]:
    recent = history.recent("update_ratio", _LASTING)
    if not recent:
        return []
    fast = [n for n in recent[-1] if min(s.get(n, 0.0) for s in recent) > limits.update_high]
    if fast:
        worst = max(fast, key=lambda name: recent[-1][name])
        value = recent[-1][worst]
        text = (
            f"A step changes {_some([worst, *(n for n in fast if n != worst)])} by {value:.1e} of "
            "the weights' size; about 1e-3 is healthy. Steps of this size jump over what they aim "
            "at: the loss swings, and ReLUs die. Try a rate that is smaller by a factor of "
            f"{_round(value / 1e-3)}, a warm-up, or clipped gradients."
        )
        return [Finding("update-too-large", worst, text, history.step, value)]
    if history.count < _STARTED or _cut_off(history):
        return []
    return _too_slow(history, limits)


def _too_slow(history: History, limits: Limits) -> list[Finding]:
    """Look for weights that never moved, all of them or a few."""
    highest = history.highest_update
    moving = [value for value in highest.values() if value > 0]
    if not moving:
        text = (
            "No weight has changed since the first step, though there are gradients. Either the "
            "rate is 0, or so small that float32 rounds the change away, or the optimiser steps "
            "on other parameters than the network's. Try a larger rate, and make the optimiser "
            "from model.parameters() after the network is complete."
        )
        return [Finding("update-too-small", "", text, history.step, 0.0)]
    most = statistics.median(moving)
    if most < limits.update_low:
        text = (
            f"A step changes the weights by {most:.1e} of their size (the median of the layers, at "
            "its highest); about 1e-3 is healthy. At this pace nothing is learnt in any useful "
            f"time. Try a rate larger by a factor of {_round(1e-3 / most)}."
        )
        return [Finding("update-too-small", "", text, history.step, most)]
    gradients = history.samples[-1].get("gradient_rms", {})
    still = [n for n, value in highest.items() if value == 0 and gradients.get(n, 0.0) > 0]
    if not still:
        return []
    text = (
        f"{_some(still)} never changed, though gradients arrive and others change. The "
        "optimiser does not have these parameters, or with a rate of 0. Give it all of "
        "model.parameters(), or set requires_grad to False for those that are to stay."
    )
    return [Finding("not-updated", still[0], text, history.step, 0.0)]


def _plateau(history: History, weights: Collection[str], limits: Limits) -> list[Finding]:
    """See whether the loss has ever fallen; one that is low and falls no more is no fault."""
    losses = history.losses(_STARTED)
    if not losses or history.count < _LONG:
        return []
    first, now = statistics.fmean(history.first_losses), statistics.fmean(losses)
    if not (math.isfinite(first) and math.isfinite(now)):
        return []
    scores = history.samples[-1].get("scores", {}).get("", 0.0)
    chance = math.log(scores) if scores > 1 else 0.0
    learnt = chance and now < 0.7 * chance  # it knows something: it was trained before
    if first - now > limits.improvement * abs(first) or learnt:
        return []
    text = f"The loss has not fallen: {first:.4g} at first, {now:.4g} after {history.step} steps."
    if chance and abs(now / chance - 1) < 0.05:
        text += f" That is ln {scores:.0f}, what guessing gives."
    spread = [sample[""] for sample in history.recent("score_spread", _LASTING)]
    if spread and max(spread) < 1e-3:
        text += (
            " All images get the same scores: the signal is lost on its way (see other findings)."
        )
    text += (
        " The rate may be far too small or too large, the labels may not belong to the images, or "
        "no gradient reaches the weights. Try to learn twenty images by heart first (chainrule "
        "train --check does), and rates ten times larger and smaller."
    )
    return [Finding("plateau", "", text, history.step, now)]


_MOST_POWER = 6  # of ten, of a factor that is advised

_RULES: tuple[Callable[[History, Collection[str], Limits], list[Finding]], ...] = (
    _not_finite,
    _dead,
    _saturated,
    _gradients,
    _signal,
    _updates,
    _plateau,
)


def _cut_off(history: History) -> bool:
    """Tell whether a layer gives nothing at all: what lies behind and before it is its doing."""
    last = history.samples[-1]
    dead = max(last.get("dead", {}).values(), default=0.0) > 0.999
    return dead or 0.0 in last.get("activation_rms", {}).values()


def _ratio(values: list[float]) -> float:
    """Give the median of the first third over that of the last; 1 for few, or without a last."""
    if len(values) < _DEPTH:
        return 1.0
    third = len(values) // 3
    first, last = statistics.median(values[:third]), statistics.median(values[-third:])
    return first / last if last > 0 else 1.0


def _extremes(values: list[float]) -> tuple[float, float]:
    """Give the lowest and the highest median of a third of neighbours, over the first third's.

    One layer whose weights begin as 0, in a residual block, is not seen by it.
    """
    if len(values) < _DEPTH:
        return 1.0, 1.0
    third = len(values) // 3
    medians = [statistics.median(values[i : i + third]) for i in range(len(values) - third + 1)]
    if medians[0] <= 0:
        return 1.0, 1.0
    return min(medians) / medians[0], max(medians) / medians[0]


def _some(names: list[str]) -> str:
    """Name a few, and say how many more there are.

    >>> _some(["a", "b", "c", "d"]), _some(["a"])
    ('a and 3 more', 'a')
    """
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _round(factor: float) -> str:
    """Write a factor by its power of ten, which is as much as is known of it."""
    power = round(math.log10(factor)) if math.isfinite(factor) else _MOST_POWER
    return f"{10 ** min(power, _MOST_POWER):,} {'or more' * (power > _MOST_POWER)}".strip()
