"""L-BFGS against torch.optim.LBFGS: every step, the loss, and how often it was asked for."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import chainrule as cr
from chainrule.formats import load_torch

STEPS = 100


def starts(dtype: str) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [np.asarray(rng.standard_normal(s), dtype) for s in [(4, 3), (), (0, 2), (3, 2, 2)]]


def leaves(lib: Any, dtype: str) -> list[Any]:
    return [lib.tensor(v, requires_grad=True) for v in starts(dtype)]


def loss_of(parameters: list[Any]) -> Any:
    """A valley over several parameters; the third is empty, and none depends on it."""
    a, b, _, c = parameters
    valley = ((1 - a) ** 2).sum() + 4 * ((a[1:] - a[:-1] ** 2) ** 2).sum()
    return valley + (b - c.mean()) ** 2 + ((c * c - 2) ** 2).sum() + (c * b).sum()


def run(lib: Any, optimizer: Any, parameters: list[Any], steps: int) -> list[Any]:
    rows = []

    def closure() -> Any:
        optimizer.zero_grad()
        loss = loss_of(parameters)
        loss.backward()
        return loss

    for _ in range(steps):
        loss = optimizer.step(closure)
        flat = np.concatenate([p.detach().numpy().ravel() for p in parameters])
        memory = next(iter(optimizer.state_dict()["state"].values()))
        rows.append((float(loss.item()), flat, memory["func_evals"], memory["n_iter"]))
    return rows


def compare(dtype: str, tolerance: float, steps: int, **options: Any) -> None:
    paths = []
    for lib in (cr, torch):
        parameters = leaves(lib, dtype)
        paths.append(run(lib, lib.optim.LBFGS(parameters, **options), parameters, steps))
    near(*paths, tolerance)


def near(ours: list[Any], theirs: list[Any], tolerance: float) -> None:
    for own, their in zip(ours, theirs, strict=True):
        assert own[2:] == their[2:]  # as many evaluations and iterations
        for a, b in zip(own[:2], their[:2], strict=True):
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


GRID = [
    {
        "line_search_fn": line,
        "lr": lr,
        "max_iter": iterations,
        "history_size": history,
        "max_eval": evaluations,
    }
    for line, lr, iterations, history, evaluations in itertools.product(
        ("strong_wolfe", None), (1, 0.05, 3.0), (1, 4), (1, 3, 100), (None, 3)
    )
    # Others fly off, or hang on the last digit: torch's own path, begun 4e-16 beside, leaves its
    # first by as much as ours does.
    if line or (lr < 1 and (history > 1 or iterations == 1))
]


@pytest.mark.parametrize("options", GRID, ids=lambda o: "-".join(map(str, o.values())))
def test_paths(options: dict[str, Any]) -> None:
    compare("float64", 1e-6, STEPS, **options)


@pytest.mark.parametrize("line", ["strong_wolfe", None])
def test_long_steps_with_the_defaults(line: str | None) -> None:
    compare("float64", 1e-6, 10, line_search_fn=line, lr=1 if line else 0.1)


@pytest.mark.parametrize("line", ["strong_wolfe", None])
def test_float32(line: str | None) -> None:
    """A few steps: later ones depend on the last digits."""
    compare("float32", 1e-3, 8, line_search_fn=line, lr=0.1, max_iter=1)


@pytest.mark.parametrize("options", [{"tolerance_grad": 1e-2}, {"tolerance_change": 1e-3}])
@pytest.mark.parametrize("line", ["strong_wolfe", None])
def test_tolerances(line: str | None, options: dict[str, Any]) -> None:
    compare("float64", 1e-8, 40, line_search_fn=line, lr=1 if line else 0.05, **options)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("line", ["strong_wolfe", None])
@pytest.mark.filterwarnings("ignore")
def test_what_is_not_finite(line: str | None, bad: float) -> None:
    """A loss that is not finite somewhere along the way."""

    def finals(lib: Any) -> list[Any]:
        p = lib.tensor(np.array([2.0, -1.0]), requires_grad=True)
        optimizer = lib.optim.LBFGS([p], line_search_fn=line, max_iter=5, lr=0.3)
        count = 0

        def closure() -> Any:
            nonlocal count
            count += 1
            optimizer.zero_grad()
            loss = (p * p * p * p).sum() * (bad if count == 4 else 1.0)
            loss.backward()
            return loss

        optimizer.step(closure)
        return [count, *p.detach().numpy().tolist()]

    np.testing.assert_allclose(finals(cr), finals(torch), rtol=1e-10)


@pytest.mark.parametrize("line", ["strong_wolfe", None])
def test_torchs_state_from_a_file_goes_on_here(line: str | None, tmp_path: Path) -> None:
    theirs = leaves(torch, "float64")
    options = {"line_search_fn": line, "lr": 0.05, "max_iter": 2, "history_size": 3}
    teacher = torch.optim.LBFGS(theirs, **options)
    run(torch, teacher, theirs, 15)
    torch.save(teacher.state_dict(), tmp_path / "state.pt")
    ours = [cr.tensor(p.detach().numpy().copy(), requires_grad=True) for p in theirs]
    pupil = cr.optim.LBFGS([(f"layer.{k}", p) for k, p in enumerate(ours)])
    pupil.load_state_dict(load_torch(tmp_path / "state.pt"))
    near(run(cr, pupil, ours, 15), run(torch, teacher, theirs, 15), 1e-8)


@pytest.mark.parametrize(
    "misuse",
    [
        lambda lib, p: lib.optim.LBFGS([p], lr=-1),
        lambda lib, p: lib.optim.LBFGS([{"params": [p]}, {"params": [p.clone().detach()]}]),
        lambda lib, p: lib.optim.LBFGS([p], line_search_fn="armijo").step(lambda: (p * p).sum()),
        lambda lib, p: lib.optim.LBFGS([p]).step(),
    ],
)
def test_misuse(misuse: Any) -> None:
    raised = []
    for lib in (torch, cr):
        p = lib.tensor([2.0], requires_grad=True)
        p.grad = lib.tensor([4.0])
        with pytest.raises((ValueError, RuntimeError, TypeError)) as error:
            misuse(lib, p)
        raised.append(error.type)
    assert issubclass(raised[1], raised[0])
