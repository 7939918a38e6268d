"""Every optimiser with state of its own against torch.optim: every option, a hundred steps."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import chainrule as cr
from chainrule.formats import load_torch
from tests.parity.trajectories import STEPS, compare, leaves, near, walk

OPTIONS: dict[str, dict[str, tuple[Any, ...]]] = {
    "SGD": {
        "lr": (0.05,),
        "momentum": (0.0, 0.9),
        "dampening": (0.0, 0.3),
        "weight_decay": (0.0, 0.1),
        "maximize": (False, True),
    },
    "Adagrad": {
        "lr": (0.1,),
        "lr_decay": (0.0, 0.01),
        "weight_decay": (0.0, 0.1),
        "initial_accumulator_value": (0.0, 0.5),
        "eps": (1e-10, 0.1),
        "maximize": (False, True),
    },
    "Adadelta": {
        "lr": (0.1, 0.3),
        "rho": (0.9, 0.5),
        "eps": (1e-6, 0.01),
        "weight_decay": (0.0, 0.1),
        "maximize": (False, True),
    },
    "RMSprop": {
        "lr": (0.02,),
        "alpha": (0.99, 0.3),
        "eps": (1e-8, 0.1),
        "weight_decay": (0.0, 0.1),
        "momentum": (0.0, 0.8),
        "centered": (False, True),
        "maximize": (False, True),
    },
    "Adam": {
        "lr": (0.02,),
        "betas": ((0.9, 0.999), (0.3, 0.8), (0.0, 0.0)),
        "eps": (1e-8, 0.1),
        "weight_decay": (0.0, 0.1),
        "amsgrad": (False, True),
        "maximize": (False, True),
        "decoupled_weight_decay": (False, True),
    },
    "AdamW": {
        "lr": (0.02,),
        "weight_decay": (0.0, 0.1, 1.0),
        "amsgrad": (False, True),
        "maximize": (False, True),
    },
    "Adamax": {
        "lr": (0.02,),
        "betas": ((0.9, 0.999), (0.3, 0.8)),
        "eps": (1e-8, 0.1),
        "weight_decay": (0.0, 0.1),
        "maximize": (False, True),
    },
    "NAdam": {
        "lr": (0.02,),
        "betas": ((0.9, 0.999), (0.3, 0.8)),
        "weight_decay": (0.0, 0.1),
        "momentum_decay": (4e-3, 0.5),
        "decoupled_weight_decay": (False, True),
        "maximize": (False, True),
    },
    "RAdam": {
        "lr": (0.02,),
        "betas": ((0.9, 0.999), (0.3, 0.8), (0.5, 0.5)),
        "eps": (1e-8, 0.1),
        "weight_decay": (0.0, 0.1),
        "decoupled_weight_decay": (False, True),
        "maximize": (False, True),
    },
    "Rprop": {
        "lr": (0.01, 0.3),
        "etas": ((0.5, 1.2), (0.9, 3.0)),
        "step_sizes": ((1e-6, 50), (0.05, 0.2)),
        "maximize": (False, True),
    },
}


def cases() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, options in OPTIONS.items():
        for values in itertools.product(*options.values()):
            yield name, dict(zip(options, values, strict=True))


def label(case: Any) -> str:
    return "-".join(map(str, case.values())) if isinstance(case, dict) else str(case)


def maker(name: str, *args: Any, **options: Any) -> Any:
    return lambda lib, parameters: getattr(lib.optim, name)(parameters, *args, **options)


@pytest.fixture(params=["float32", "float64"])
def counts(request: pytest.FixtureRequest) -> Iterator[str]:
    """Torch's default dtype, in which it keeps NAdam's product."""
    torch.set_default_dtype(getattr(torch, request.param))
    yield request.param
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(("name", "options"), list(cases()), ids=label)
def test_paths(name: str, options: dict[str, Any]) -> None:
    compare(maker(name, **options), tolerance=1e-6 if name == "NAdam" else 1e-10)


def test_the_path_of_nadam_where_torch_keeps_its_product_in_float64(counts: str) -> None:
    for decay in (4e-3, 0.5):
        compare(
            maker("NAdam", momentum_decay=decay),
            tolerance=1e-10 if counts == "float64" else 1e-6,
        )


def test_the_path_of_adadelta_that_forgets_nothing() -> None:
    compare(maker("Adadelta", lr=0.02, rho=1.0))


def some(name: str, count: int = 8) -> Iterator[tuple[str, dict[str, Any]]]:
    """Choose cases at random, without the variance of few values, which loses its digits."""
    found = [o for n, o in cases() if n == name and not (o.get("centered") and o["alpha"] < 0.9)]
    yield from ((name, o) for o in random.Random(name).sample(found, min(count, len(found))))


@pytest.mark.parametrize("backend", ["numpy", "onednn"])
@pytest.mark.parametrize(("name", "options"), [c for n in OPTIONS for c in some(n)], ids=label)
def test_paths_in_float32(name: str, options: dict[str, Any], backend: str) -> None:
    """By NumPy and by the compiled kernels, where both round on their own."""
    with cr.use_backend(backend):
        compare(maker(name, **options), "float32", 2e-4)


@pytest.mark.parametrize("name", OPTIONS)
def test_defaults(name: str) -> None:
    compare(maker(name), tolerance=1e-6 if name == "NAdam" else 1e-10)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("Adagrad", (0.1, 0.01, 0.1, 0.2, 1e-3, None)),
        ("Adadelta", (2.0, 0.8, 1e-3, 0.1, None)),
        ("RMSprop", (0.02, 0.9, 1e-3, 0.1, 0.5, True, False, None, True, False)),
        ("Adam", (0.02, (0.8, 0.9), 1e-3, 0.1, True)),
        ("AdamW", (0.02, (0.8, 0.9), 1e-3, 0.1, True)),
        ("Adamax", (0.02, (0.8, 0.9), 1e-3, 0.1, None)),
        ("NAdam", (0.02, (0.8, 0.9), 1e-3, 0.1, 0.1, True)),
        ("RAdam", (0.02, (0.8, 0.9), 1e-3, 0.1, True)),
        ("Rprop", (0.02, (0.6, 1.5), (1e-3, 1.0))),
    ],
)
def test_positions(name: str, args: tuple[Any, ...]) -> None:
    theirs, ours = compare(maker(name, *args), tolerance=1e-6)
    group, own = theirs.param_groups[0], ours.param_groups[0]
    assert {k: v for k, v in group.items() if k != "params"} == {
        k: v for k, v in own.items() if k not in ("params", "param_names")
    }


@pytest.mark.parametrize("name", OPTIONS)
def test_groups_with_options_of_their_own(name: str) -> None:
    second = {
        key: values[-1]
        for key, values in OPTIONS[name].items()
        # torch takes the beginning of Adagrad's sums from the constructor alone
        if key not in ("lr", "dampening", "initial_accumulator_value")
    }

    def make(lib: Any, p: list[Any]) -> Any:
        groups = [{"params": p[:3], "lr": 0.03}, {"params": p[3:6], **second}, {"params": p[6:]}]
        return getattr(lib.optim, name)(groups, lr=0.01)

    compare(make, tolerance=1e-6 if name == "NAdam" else 1e-10)


@pytest.mark.parametrize("name", OPTIONS)
def test_rates_and_groups_that_come_later(name: str) -> None:
    """A schedule's rates, and a group added on the way."""

    def run(lib: Any) -> list[Any]:
        parameters = leaves(lib, "float64")
        optimizer = getattr(lib.optim, name)(parameters[:4], lr=0.05)
        path = []
        for step in range(STEPS // 2):
            if step == 10:
                optimizer.add_param_group({"params": parameters[4:], "lr": 0.02})
            optimizer.param_groups[0]["lr"] *= 0.97
            path += walk(lib, optimizer, parameters, step, step + 1)
        return path

    near(run(cr), run(torch), 1e-6 if name == "NAdam" else 1e-10)


@pytest.mark.parametrize(
    ("name", "options"), [(n, {k: v[-1] for k, v in OPTIONS[n].items()}) for n in OPTIONS]
)
def test_torchs_state_from_a_file_goes_on_here(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    theirs = leaves(torch, "float64")
    teacher = getattr(torch.optim, name)(theirs, **options)
    walk(torch, teacher, theirs, 0, 50)
    torch.save(teacher.state_dict(), tmp_path / "state.pt")
    ours = [cr.tensor(p.detach().numpy().copy(), requires_grad=True) for p in theirs]
    named = [(f"layer.{k}", p) for k, p in enumerate(ours)]
    pupil = getattr(cr.optim, name)(named, lr=9.0)
    pupil.load_state_dict(load_torch(tmp_path / "state.pt"))
    assert pupil.param_groups[0]["lr"] == options["lr"]
    assert all(key.startswith("layer.") for key in pupil.state)
    tolerance = 1e-6 if name == "NAdam" else 1e-10
    near(walk(cr, pupil, ours, 50, 100), walk(torch, teacher, theirs, 50, 100), tolerance)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("backend", ["numpy", "onednn"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIONS)
def test_what_is_not_finite(name: str, bad: float, dtype: str, backend: str) -> None:
    def run(lib: Any) -> np.ndarray:
        p = lib.tensor(np.linspace(-1, 1, 21).astype(dtype), requires_grad=True)
        optimizer = getattr(lib.optim, name)([p], lr=0.1)
        rows = []
        for step in range(4):
            g = np.linspace(1, 2, 21)
            if step == 1:
                g[5] = bad
            p.grad = lib.tensor(g.astype(dtype))
            optimizer.step()
            rows.append(p.detach().numpy().copy())
        return np.array(rows)

    with cr.use_backend(backend):
        np.testing.assert_allclose(run(cr), run(torch), rtol=1e-5, atol=1e-7)


def leaf(lib: Any) -> list[Any]:
    return [lib.tensor(np.ones(2), requires_grad=True)]


MISUSE = [
    ("Adagrad", {"lr": -1}),
    ("Adagrad", {"lr_decay": -1}),
    ("Adagrad", {"weight_decay": -1}),
    ("Adagrad", {"initial_accumulator_value": -1}),
    ("Adagrad", {"eps": -1}),
    ("Adagrad", {"fused": True, "foreach": True}),
    ("Adadelta", {"lr": -1}),
    ("Adadelta", {"rho": -0.1}),
    ("Adadelta", {"rho": 1.1}),
    ("Adadelta", {"eps": -1}),
    ("Adadelta", {"weight_decay": -1}),
    ("RMSprop", {"lr": -1}),
    ("RMSprop", {"alpha": -1}),
    ("RMSprop", {"eps": -1}),
    ("RMSprop", {"momentum": -1}),
    ("RMSprop", {"weight_decay": -1}),
    ("Rprop", {"lr": -1}),
    ("Rprop", {"etas": (0.0, 1.2)}),
    ("Rprop", {"etas": (0.5, 1.0)}),
    ("Rprop", {"etas": (1.1, 1.2)}),
    ("Rprop", {"weight_decay": 0.1}),
    ("LBFGS", {"lr": -1}),
    ("SGD", {"fused": True, "foreach": True}),
    *[
        (name, options)
        for name in ("Adam", "AdamW", "Adamax", "NAdam", "RAdam")
        for options in (
            {"lr": -1},
            {"lr": float("nan")},
            {"lr": "fast"},
            {"lr": None},
            {"eps": -1},
            {"weight_decay": -1},
            {"betas": (1.0, 0.9)},
            {"betas": (0.9, 1.0)},
            {"betas": (-0.1, 0.9)},
            {"betas": (0.9, -0.1)},
            {"betas": 0.9},
        )
    ],
    ("Adam", {"fused": True, "foreach": True}),
    ("NAdam", {"momentum_decay": -1}),
]


@pytest.mark.parametrize(("name", "options"), MISUSE, ids=label)
def test_misuse(name: str, options: dict[str, Any]) -> None:
    kinds = (TypeError, ValueError, RuntimeError)
    with pytest.raises(kinds) as theirs:
        getattr(torch.optim, name)(leaf(torch), **options)
    with pytest.raises(theirs.type) as ours:
        getattr(cr.optim, name)(leaf(cr), **options)
    assert (
        "weight_decay" in str(ours.value)
        if name == "Rprop" and "weight_decay" in options
        else (isinstance(ours.value, cr.ChainruleError))
    )


def test_a_rate_of_several_numbers() -> None:
    for lib in (torch, cr):
        with pytest.raises(ValueError, match="lr"):
            lib.optim.Adam(leaf(lib), lr=lib.tensor([0.1, 0.2]))


@pytest.mark.parametrize("name", OPTIONS)
def test_reprs(name: str) -> None:
    theirs, ours = (repr(getattr(lib.optim, name)(leaf(lib))) for lib in (torch, cr))
    assert ours == theirs
