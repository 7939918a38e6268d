"""States of every optimiser: saved as a trainer does, loaded anew, gone on with to the bit."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine import written
from chainrule.engine.tensor import Tensor
from chainrule.errors import CheckpointError, KindError, ShapeError
from chainrule.formats import load_safetensors, save_safetensors
from tests.optim.rules import EVERY

ALL: list[tuple[str, dict[str, Any]]] = [
    *EVERY.items(),
    ("LBFGS", {"lr": 0.05, "max_iter": 3, "history_size": 4}),
    ("LBFGS", {"line_search_fn": "strong_wolfe", "max_iter": 3}),
]
STEPS = 50


def test_every_optimiser_is_walked() -> None:
    classes = {
        name
        for name, value in vars(cr.optim).items()
        if isinstance(value, type) and issubclass(value, cr.optim.Optimizer)
    }
    assert {name for name, _ in ALL} == classes - {"Optimizer"}


def leaves(dtype: type) -> list[Tensor]:
    rng = np.random.default_rng(1)
    shapes = [(5, 3), (), (7,)]
    return [Tensor(np.asarray(rng.standard_normal(s), dtype), requires_grad=True) for s in shapes]


def build(name: str, parameters: list[Tensor], **options: Any) -> Any:
    first = [("a", parameters[0]), ("scalar", parameters[1])]
    if name == "LBFGS":
        return cr.optim.LBFGS([*first, ("b", parameters[2])], **options)
    groups = [{"params": first}, {"params": [("b", parameters[2])], "lr": 0.03}]
    return getattr(cr.optim, name)(groups, **options)


def walk(optimizer: Any, parameters: list[Tensor], begin: int, end: int) -> None:
    for step in range(begin, end):

        def closure(step: int = step) -> Tensor:
            optimizer.zero_grad()
            total = cr.tensor(0.0, dtype=parameters[0].dtype)
            for k, p in enumerate(parameters):
                goal = 1.0 + k + 0.1 * (step % 4)
                total = total + ((p - goal) ** 2).sum() + 0.1 * ((p * p - goal) ** 2).sum()
            total.backward()
            return total

        optimizer.step(closure)


def through_files(state: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write arrays into safetensors and all else into JSON, and read them back."""
    arrays, plain = {}, {}
    for name, entry in state["state"].items():
        plain[name] = {k: v for k, v in entry.items() if not isinstance(v, np.ndarray)}
        arrays |= {f"{name}/{k}": v for k, v in entry.items() if isinstance(v, np.ndarray)}
    save_safetensors(arrays, folder / "state.safetensors")
    text = json.dumps({"state": plain, "param_groups": state["param_groups"]})
    found = json.loads(text)
    for key, value in load_safetensors(folder / "state.safetensors").items():
        name, _, entry = key.partition("/")
        found["state"][name][entry] = value
    return dict(found)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("how", ["files", "itself"])
@pytest.mark.parametrize(("name", "options"), ALL)
def test_a_saved_state_goes_on_to_the_bit(
    name: str, options: dict[str, Any], how: str, dtype: type, tmp_path: Path
) -> None:
    parameters = leaves(dtype)
    optimizer = build(name, parameters, **options)
    walk(optimizer, parameters, 0, STEPS)
    twins = [Tensor(p.array.copy(), requires_grad=True) for p in parameters]
    resumed = build(name, twins)  # whatever its options
    state = optimizer.state_dict()
    resumed.load_state_dict(through_files(state, tmp_path) if how == "files" else state)
    walk(resumed, twins, STEPS, 2 * STEPS)
    walk(optimizer, parameters, STEPS, 2 * STEPS)
    for p, q in zip(parameters, twins, strict=True):
        assert p.array.tobytes() == q.array.tobytes()
    again, own = resumed.state_dict()["state"], optimizer.state_dict()["state"]
    assert sorted(again) == sorted(own)
    for key, entry in own.items():
        assert sorted(entry) == sorted(again[key])
        for item, value in entry.items():
            np.testing.assert_array_equal(value, again[key][item], strict=True)


@pytest.mark.parametrize(("name", "options"), ALL)
def test_a_state_that_misses_one_item_does_not(name: str, options: dict[str, Any]) -> None:
    """The test above notices: without any one item of the state, the path is another."""
    parameters = leaves(np.float64)
    optimizer = build(name, parameters, **options)
    walk(optimizer, parameters, 0, 5)
    saved = copy.deepcopy(optimizer.state_dict())
    ends = []
    # Told to who looks, or, as H_diag, made anew while the loss curves upward.
    items = [k for k in saved["state"]["a"] if k not in ("func_evals", "prev_loss", "H_diag")]
    unused = {"Adadelta": {"step"}, "RMSprop": {"step"}, "Rprop": {"step"}}.get(name, set())
    for missing in (None, *[k for k in items if k not in unused]):
        state = copy.deepcopy(saved)
        if missing is not None:
            value = state["state"]["a"][missing]
            change = (lambda v: v * 1.5 + 1.0) if not isinstance(value, list) else _longer
            state["state"]["a"][missing] = change(value)
            if missing in ("n_iter", "step"):
                state["state"]["a"][missing] = 0
        twins = [Tensor(p.array.copy(), requires_grad=True) for p in parameters]
        resumed = build(name, twins)
        resumed.load_state_dict(state)
        walk(resumed, twins, 5, 8)
        ends.append(np.concatenate([p.array.ravel() for p in twins]))
    assert len(ends) > 1
    assert not any(np.array_equal(ends[0], end) for end in ends[1:])


def _longer(values: list[float]) -> list[float]:
    return [value * 1.5 for value in values]


@pytest.mark.parametrize(("name", "options"), ALL)
def test_copies_and_pickles_go_on_alike(name: str, options: dict[str, Any]) -> None:
    parameters = leaves(np.float64)
    optimizer = build(name, parameters, **options)
    walk(optimizer, parameters, 0, 5)
    twins = [copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))]
    walk(optimizer, parameters, 5, 8)
    for twin in twins:
        own = [p for group in twin.param_groups for p in group["params"]]
        walk(twin, own, 5, 8)
        for p, q in zip(parameters, own, strict=True):
            assert p is not q
            assert p.array.tobytes() == q.array.tobytes()


@pytest.mark.parametrize(("name", "options"), ALL)
def test_every_change_is_noted_as_a_write(name: str, options: dict[str, Any]) -> None:
    parameters = leaves(np.float64)
    optimizer = build(name, parameters, **options)
    stamp = written.CLOCK.now
    walk(optimizer, parameters, 0, 1)
    assert all(written.written_since([p.array], stamp) for p in parameters)


@pytest.mark.parametrize(("name", "options"), ALL)
def test_convergence(name: str, options: dict[str, Any]) -> None:
    """Each finds the lowest point of a bowl that is four times as steep one way."""
    p = Tensor(np.array([3.0, -2.0]), requires_grad=True)
    plain = {k: v for k, v in options.items() if k in ("lr", "line_search_fn", "max_iter")}
    optimizer = getattr(cr.optim, name)([p], **plain)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = ((p - cr.tensor(np.array([1.0, 2.0]))) ** 2 * cr.tensor(np.array([1.0, 4.0]))).sum()
        loss.backward()
        return loss

    for _ in range(1500):
        optimizer.step(closure)
        optimizer.param_groups[0]["lr"] *= 0.998 if name not in ("Adadelta", "Adagrad") else 1.0
    far = np.abs(p.array - [1.0, 2.0]).max()
    assert far < (3.0 if name == "Adadelta" else 0.1)  # which begins with steps of 1e-3


def test_states_of_scalar_parameters_take_the_parameters_dtype() -> None:
    narrow, wide = (
        Tensor(np.asarray(2.0, d), requires_grad=True) for d in (np.float32, np.float64)
    )
    for p in (narrow, wide):
        p.grad = Tensor(np.asarray(1.0, p.array.dtype))
    first, second = cr.optim.Adam([narrow]), cr.optim.Adam([wide])
    first.step()
    second.load_state_dict(first.state_dict())
    assert second.state["0"]["exp_avg"].dtype == np.float64
    assert second.state["0"]["exp_avg"] is not first.state["0"]["exp_avg"]
    assert second.state["0"]["step"] == 1
    second.state["0"]["step"] = np.asarray(1.0, np.float32)  # as PyTorch counts
    second.load_state_dict(second.state_dict())
    assert type(second.state["0"]["step"]) is float
    second.step()
    assert second.state["0"]["step"] == 2


def test_adamw_goes_on_decoupled_from_a_state_of_adam() -> None:
    p = leaves(np.float64)
    adam, adamw = cr.optim.Adam(p, weight_decay=0.1), cr.optim.AdamW(p)
    adamw.load_state_dict(adam.state_dict())
    assert adamw.param_groups[0]["decoupled_weight_decay"] is True
    assert adamw.param_groups[0]["weight_decay"] == 0.1
    back = cr.optim.Adam(p)
    back.load_state_dict(adamw.state_dict())
    assert back.param_groups[0]["decoupled_weight_decay"] is True


def test_states_by_number_need_as_many_parameters() -> None:
    p = leaves(np.float64)
    ours = cr.optim.Adam([("a", p[0]), ("b", p[1])])
    groups = [{"lr": 0.5, "params": [0, 1, 2]}]
    with pytest.raises(CheckpointError, match="missing none; unexpected 2"):
        ours.load_state_dict({"state": {}, "param_groups": groups})
    with pytest.raises(CheckpointError, match="'5', which is not a parameter here"):
        ours.load_state_dict({"state": {5: {}}, "param_groups": [{"lr": 1.0, "params": [0, 1]}]})
    assert ours.param_groups[0]["lr"] == 1e-3
    state = {1: {"step": np.asarray(3.0, np.float32), "exp_avg": np.asarray(2.0, np.float32)}}
    ours.load_state_dict({"state": state, "param_groups": [{"lr": 0.5, "params": [0, 1]}]})
    assert ours.state["b"] == {"step": 3.0, "exp_avg": np.asarray(2.0)}
    assert ours.param_groups[0]["param_names"] == ["a", "b"]
    assert ours.param_groups[0]["lr"] == 0.5


def test_lbfgs_refuses_vectors_of_other_parameters() -> None:
    p = leaves(np.float64)
    optimizer = cr.optim.LBFGS(p)
    walk(optimizer, p, 0, 2)
    state = optimizer.state_dict()
    for key in ("d", "old_dirs", "prev_flat_grad"):
        bad = copy.deepcopy(state)
        bad["state"]["0"][key] = bad["state"]["0"][key][..., :-1]
        with pytest.raises(CheckpointError, match=f"{key} has vectors of shape"):
            optimizer.load_state_dict(bad)


def test_misuse_names_the_rule() -> None:
    p = leaves(np.float64)

    def refused(text: str, name: str, error: type = ShapeError, **options: Any) -> None:
        with pytest.raises(error, match=text):
            getattr(cr.optim, name)(p, **options)

    for name in ("Adam", "AdamW", "Adamax", "NAdam", "RAdam"):
        refused("betas of at least 0 and below 1", name, betas=(0.9, 1.0))
        refused("betas as two numbers", name, KindError, betas=(0.9,))
        refused("a number as betas", name, KindError, betas=(0.9, "0.99"[:0]))
        refused("first order", name, NotImplementedError, differentiable=True)
        refused("graphs of a GPU", name, NotImplementedError, capturable=True)
    refused("at most one of fused and foreach", "Adam", fused=True, foreach=True)
    refused("lr as one number", "Adam", lr=cr.tensor([0.1, 0.2]))
    refused("a number as lr", "Adam", KindError, lr=None)
    refused("rho of at least 0 and at most 1", "Adadelta", rho=1.5)
    refused(r"etas with 0 < etas\[0\] < 1 < etas\[1\]", "Rprop", etas=(0.5, 0.9))
    refused("history_size of at least 1", "LBFGS", history_size=0)
    refused("line_search_fn None or 'strong_wolfe'", "LBFGS", line_search_fn="armijo")
    with pytest.raises(ShapeError, match="one group"):
        cr.optim.LBFGS([{"params": p[:1]}, {"params": p[1:]}])
    with pytest.raises(KindError, match=r"step\(closure\)"):
        cr.optim.LBFGS(p).step()
    with pytest.raises(ShapeError, match="eps of at least 0; got eps -1"):
        cr.optim.Adam([{"params": p, "eps": -1}])


def test_rates_that_are_tensors() -> None:
    p = Tensor(np.array([1.0]), requires_grad=True)
    p.grad = Tensor(np.array([2.0]))
    cr.optim.Adam([p], lr=cr.tensor(0.25)).step()
    np.testing.assert_allclose(p.array, [0.75], rtol=1e-7)


def test_lbfgs_puts_the_parameters_back_when_the_closure_fails() -> None:
    p = Tensor(np.array([3.0]), requires_grad=True)
    optimizer, calls = cr.optim.LBFGS([p], line_search_fn="strong_wolfe"), 0

    def closure() -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with pytest.raises(KeyboardInterrupt):
        optimizer.step(closure)
    assert p.array.tolist() == [3.0]
