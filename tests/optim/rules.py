"""What every optimiser makes of one number, written out once more with Python's floats."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

State = dict[str, float]


def pulled(w: float, g: float, o: dict[str, Any]) -> float:
    g = -g if o["maximize"] else g
    return g if o.get("decoupled_weight_decay") else g + o["weight_decay"] * w


def shrunk(w: float, o: dict[str, Any]) -> float:
    return w * (1 - o["lr"] * o["weight_decay"]) if o.get("decoupled_weight_decay") else w


def means(d: float, o: dict[str, Any], s: State) -> tuple[float, float, float, float]:
    (b1, b2), t = o["betas"], s["t"]
    s["m"] = b1 * s.get("m", 0.0) + (1 - b1) * d
    s["v"] = b2 * s.get("v", 0.0) + (1 - b2) * d * d
    return s["m"], s["v"], 1 - b1**t, 1 - b2**t


def sgd(w: float, g: float, o: dict[str, Any], s: State) -> float:
    d = pulled(w, g, o)
    if o["momentum"]:
        s["b"] = o["momentum"] * s["b"] + (1 - o["dampening"]) * d if "b" in s else d
        d = d + o["momentum"] * s["b"] if o["nesterov"] else s["b"]
    return w - o["lr"] * d


def adam(w: float, g: float, o: dict[str, Any], s: State) -> float:
    m, v, bias1, bias2 = means(pulled(w, g, o), o, s)
    s["most"] = max(s.get("most", 0.0), v)
    v = s["most"] if o["amsgrad"] else v
    return shrunk(w, o) - o["lr"] * (m / bias1) / (math.sqrt(v / bias2) + o["eps"])


def adamax(w: float, g: float, o: dict[str, Any], s: State) -> float:
    d = pulled(w, g, o)
    m, _, bias1, _ = means(d, o, s)
    s["u"] = max(o["betas"][1] * s.get("u", 0.0), abs(d) + o["eps"])
    return w - o["lr"] / bias1 * m / s["u"]


def nadam(w: float, g: float, o: dict[str, Any], s: State) -> float:
    def mu(t: float) -> float:
        return o["betas"][0] * (1 - 0.5 * 0.96 ** (t * o["momentum_decay"]))

    d, t = pulled(w, g, o), s["t"]
    m, v, _, bias2 = means(d, o, s)
    s["p"] = s.get("p", 1.0) * mu(t)
    ahead = mu(t + 1) * m / (1 - s["p"] * mu(t + 1)) + (1 - mu(t)) * d / (1 - s["p"])
    return shrunk(w, o) - o["lr"] * ahead / (math.sqrt(v / bias2) + o["eps"])


def radam(w: float, g: float, o: dict[str, Any], s: State) -> float:
    m, v, bias1, bias2 = means(pulled(w, g, o), o, s)
    b2, t = o["betas"][1], s["t"]
    most = 2 / (1 - b2) - 1
    long = most - 2 * t * b2**t / bias2
    move = o["lr"] * m / bias1
    if long > 5:
        r = math.sqrt((long - 4) * (long - 2) * most / ((most - 4) * (most - 2) * long))
        move *= r * math.sqrt(bias2) / (math.sqrt(v) + o["eps"])
    return shrunk(w, o) - move


def adagrad(w: float, g: float, o: dict[str, Any], s: State) -> float:
    d = pulled(w, g, o)
    s["s"] = s.get("s", o["initial_accumulator_value"]) + d * d
    return w - o["lr"] / (1 + (s["t"] - 1) * o["lr_decay"]) * d / (math.sqrt(s["s"]) + o["eps"])


def adadelta(w: float, g: float, o: dict[str, Any], s: State) -> float:
    d, rho, u = pulled(w, g, o), o["rho"], s.get("u", 0.0)
    s["v"] = rho * s.get("v", 0.0) + (1 - rho) * d * d
    move = math.sqrt(u + o["eps"]) / math.sqrt(s["v"] + o["eps"]) * d
    s["u"] = rho * u + (1 - rho) * move * move
    return w - o["lr"] * move


def rmsprop(w: float, g: float, o: dict[str, Any], s: State) -> float:
    d, alpha = pulled(w, g, o), o["alpha"]
    s["v"] = alpha * s.get("v", 0.0) + (1 - alpha) * d * d
    s["a"] = alpha * s.get("a", 0.0) + (1 - alpha) * d
    scale = math.sqrt(s["v"] - (s["a"] ** 2 if o["centered"] else 0.0)) + o["eps"]
    s["b"] = o["momentum"] * s.get("b", 0.0) + d / scale
    return w - o["lr"] * s["b"]


def rprop(w: float, g: float, o: dict[str, Any], s: State) -> float:
    d = -g if o["maximize"] else g
    turn = d * s.get("g", 0.0)
    size = s.get("size", o["lr"]) * (o["etas"][1] if turn > 0 else o["etas"][0] if turn < 0 else 1)
    s["size"] = min(max(size, o["step_sizes"][0]), o["step_sizes"][1])
    s["g"] = 0.0 if turn < 0 else d
    return w - (s["size"] if s["g"] > 0 else -s["size"] if s["g"] < 0 else 0.0)


BY_NAME: dict[str, Callable[[float, float, dict[str, Any], State], float]] = {
    "SGD": sgd,
    "Adam": adam,
    "AdamW": adam,
    "Adamax": adamax,
    "NAdam": nadam,
    "RAdam": radam,
    "Adagrad": adagrad,
    "Adadelta": adadelta,
    "RMSprop": rmsprop,
    "Rprop": rprop,
}

EVERY: dict[str, dict[str, Any]] = {
    "SGD": {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1},
    "Adam": {"lr": 0.1, "betas": (0.7, 0.8), "eps": 0.1, "weight_decay": 0.2, "amsgrad": True},
    "AdamW": {"lr": 0.1, "betas": (0.4, 0.8), "eps": 0.1, "weight_decay": 0.2},
    "Adamax": {"lr": 0.1, "betas": (0.7, 0.8), "eps": 0.1, "weight_decay": 0.2},
    "NAdam": {
        "lr": 0.1,
        "betas": (0.7, 0.8),
        "eps": 0.1,
        "weight_decay": 0.2,
        "momentum_decay": 0.5,
    },
    "RAdam": {"lr": 0.1, "betas": (0.7, 0.9), "eps": 0.1, "weight_decay": 0.2},
    "Adagrad": {
        "lr": 0.1,
        "lr_decay": 0.1,
        "weight_decay": 0.2,
        "initial_accumulator_value": 0.3,
        "eps": 0.1,
    },
    "Adadelta": {"lr": 0.5, "rho": 0.7, "eps": 0.1, "weight_decay": 0.2},
    "RMSprop": {
        "lr": 0.1,
        "alpha": 0.7,
        "eps": 0.1,
        "weight_decay": 0.2,
        "momentum": 0.5,
        "centered": True,
    },
    "Rprop": {"lr": 0.1, "etas": (0.6, 1.5), "step_sizes": (0.08, 0.3)},
}
"""Options under which every number of a rule has its part in the result."""

OTHERS: dict[str, list[dict[str, Any]]] = {
    "SGD": [{}, {"momentum": 0.9, "nesterov": True}],
    "Adam": [{}, {"amsgrad": True, "decoupled_weight_decay": True, "weight_decay": 0.3}],
    "AdamW": [{"amsgrad": True, "weight_decay": 0.0}],
    "Adamax": [{}, {"betas": (0.0, 0.0)}],
    "NAdam": [{}, {"decoupled_weight_decay": True, "weight_decay": 0.3}],
    "RAdam": [{}, {"decoupled_weight_decay": True, "weight_decay": 0.3}],
    "Adagrad": [{}],
    "Adadelta": [{}, {"rho": 0.0}],
    "RMSprop": [{}, {"momentum": 0.7}, {"centered": True, "alpha": 0.4}],
    "Rprop": [{}],
}


def choices(name: str) -> list[dict[str, Any]]:
    """Give the options under which an optimiser is tested, each uphill too."""
    found = [EVERY[name], *OTHERS[name]]
    return [{**options, "maximize": maximize} for options in found for maximize in (False, True)]
