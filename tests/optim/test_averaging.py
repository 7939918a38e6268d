from __future__ import annotations

import copy
import tracemalloc
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine.written import version
from chainrule.errors import CheckpointError
from chainrule.optim import averaging, swa_utils
from chainrule.optim.swa_utils import (
    AveragedModel,
    get_ema_avg_fn,
    get_ema_multi_avg_fn,
    get_swa_avg_fn,
    get_swa_multi_avg_fn,
    update_bn,
)

nn = cr.nn


def network() -> cr.nn.Module:
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))


def vary(model: cr.nn.Module, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Give every float of the state a new value; returns all of it."""
    for tensor in model.state_dict().values():
        if tensor.dtype.kind == "f":
            tensor.array[...] = rng.standard_normal(tensor.shape)
        else:
            tensor.array[...] += 7
    return {name: t.array.astype(np.float64) for name, t in model.state_dict().items()}


def states(averaged: AveragedModel) -> dict[str, np.ndarray]:
    return {n.removeprefix("module."): a for n, a in averaged.arrays().items()}


AVERAGES = {
    "default": {},
    "swa": {"multi_avg_fn": get_swa_multi_avg_fn()},
    "swa, one": {"avg_fn": get_swa_avg_fn()},
    "ema": {"multi_avg_fn": get_ema_multi_avg_fn(0.9)},
    "ema, one": {"avg_fn": get_ema_avg_fn(0.9)},
    "ema, near": {"multi_avg_fn": get_ema_multi_avg_fn(0.2)},
    "kept": {"multi_avg_fn": get_ema_multi_avg_fn(1.0)},
    "last": {"multi_avg_fn": get_ema_multi_avg_fn(0.0)},
}
DECAYS = {"ema": 0.9, "ema, one": 0.9, "ema, near": 0.2, "kept": 1.0, "last": 0.0}


@pytest.mark.parametrize("name", AVERAGES)
@pytest.mark.parametrize("use_buffers", [False, True])
def test_averages_by_formula(name: str, use_buffers: bool) -> None:
    rng = np.random.default_rng(0)
    model = network()
    averaged = AveragedModel(model, use_buffers=use_buffers, **AVERAGES[name])
    seen = []
    for n in range(6):
        seen.append(vary(model, rng))
        averaged.update_parameters(model)
        for key, found in states(averaged).items():
            if key == "n_averaged":
                assert int(found) == n + 1
                continue
            values = [state[key] for state in seen]
            if "running" in key or "tracked" in key:
                if not use_buffers:
                    np.testing.assert_array_equal(found, values[-1].astype(found.dtype))
                    continue
                if found.dtype.kind != "f":  # cut at every step: at most one behind each time
                    continue
            if name in DECAYS:
                wanted = values[0]
                for value in values[1:]:
                    wanted = DECAYS[name] * wanted + (1 - DECAYS[name]) * value
            else:
                wanted = np.mean(values, axis=0)
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_whole_numbers_are_cut() -> None:
    model = nn.BatchNorm1d(1)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    found = []
    for count in (10, 20, 30, 40):
        model.num_batches_tracked.array[...] = count
        averaged.update_parameters(model)
        found.append(averaged.module.num_batches_tracked.item())
    assert found == [10, 11, 12, 14]


def test_a_decay_of_nothing_is_the_model_to_the_bit() -> None:
    model, rng = network(), np.random.default_rng(0)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.0))
    for _ in range(3):
        vary(model, rng)
        averaged.update_parameters(model)
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(states(averaged)[key], value.array)


@pytest.mark.parametrize("layout", ["C", "F", "other model", "channels last", "gaps"])
@pytest.mark.parametrize("share", [0.1, 0.7])
def test_every_layout_and_blocks_give_the_same(
    layout: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(averaging, "_BLOCK", 64)
    monkeypatch.setattr(averaging, "_SHARE", 50)
    rng = np.random.default_rng(1)
    a, w = (rng.standard_normal((5, 4, 3, 7)).astype(np.float32) for _ in range(2))
    wanted = a + share * (w - a) if share < 0.5 else w - (1 - share) * (w - a)
    if layout == "F":
        a, w = np.asfortranarray(a), np.asfortranarray(w)
    elif layout == "other model":
        w = np.asfortranarray(w)
    elif layout == "channels last":
        a = np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    elif layout == "gaps":
        a = np.repeat(a, 2, axis=2)[:, :, ::2]
    get_ema_multi_avg_fn(1 - share)([cr.tensor(a)._like(a)], [cr.tensor(w)], 1)
    np.testing.assert_allclose(a, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtypes_are_kept(dtype: Any) -> None:
    model = nn.Linear(3, 2).to(dtype)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    averaged.update_parameters(model)
    model.weight.detach().array[...] += 1
    averaged.update_parameters(model)
    assert averaged.module.weight.dtype == dtype
    np.testing.assert_allclose(averaged.module.weight.array, model.weight.array - 0.5, rtol=1e-2)


def test_memory_of_an_update_does_not_grow_with_the_weights() -> None:
    model = nn.Linear(1500, 1500)  # 9 MB
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    for _ in range(2):
        averaged.update_parameters(model)
    tracemalloc.start()
    averaged.update_parameters(model)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5e6


def test_not_finite_weights_pass_quietly() -> None:
    model = nn.Linear(2, 1)
    averaged = AveragedModel(model)
    for value in (np.inf, np.inf, np.nan):
        model.weight.array[0, 0] = value
        averaged.update_parameters(model)
    assert np.isnan(averaged.module.weight.array[0, 0])
    assert np.isfinite(averaged.module.weight.array[0, 1])


def test_updates_are_noted_as_writes() -> None:
    def through_arrays(averaged: Any, current: Any, _: Any) -> None:
        for a, w in zip(averaged, current, strict=True):
            a.array[...] = w.array

    model = nn.Linear(2, 2)
    for options in (*AVERAGES.values(), {"multi_avg_fn": through_arrays}):
        averaged = AveragedModel(model, **options)
        for _ in range(2):
            before = version(averaged.module.weight.array)
            averaged.update_parameters(model)
            assert version(averaged.module.weight.array) > before


def test_the_copy_is_apart_and_without_gradients() -> None:
    model = nn.Linear(2, 2)
    model(cr.ones(1, 2)).sum().backward()
    averaged = AveragedModel(model, device="cpu")
    assert averaged.module.weight.grad is None
    before = model.weight.array.copy()
    averaged.module.weight.detach().fill_(5.0)
    np.testing.assert_array_equal(model.weight.array, before)
    assert averaged(cr.ones(1, 2)).shape == (1, 2)
    assert averaged.train(False).module.training is False


def test_functions_of_ones_own_see_tensors() -> None:
    counts = []

    def farthest(averaged: cr.Tensor, current: cr.Tensor, n: Any) -> cr.Tensor:
        counts.append(int(n))
        assert not averaged.requires_grad
        return cr.maximum(averaged, current)

    model = nn.Linear(1, 1, bias=False)
    averaged = AveragedModel(model, avg_fn=farthest)
    for value in (1.0, 3.0, 2.0):
        model.weight.detach().fill_(value)
        averaged.update_parameters(model)
    assert averaged.module.weight.item() == 3.0
    assert counts == [1, 2]


def test_state_goes_there_and_back() -> None:
    rng, model = np.random.default_rng(0), network()
    averaged = AveragedModel(model)
    for _ in range(3):
        vary(model, rng)
        averaged.update_parameters(model)
    saved = {name: value.copy() for name, value in averaged.arrays().items()}
    assert list(saved) == ["n_averaged", *[f"module.{name}" for name in model.state_dict()]]
    other = AveragedModel(network())
    other.load_state_dict(saved)
    vary(model, rng)
    for each in (averaged, other):
        each.update_parameters(model)
    for name, value in averaged.arrays().items():
        np.testing.assert_array_equal(other.arrays()[name], value)
    with pytest.raises(CheckpointError, match="missing: n_averaged"):
        other.load_state_dict(model.state_dict())
    twin = copy.deepcopy(other)
    twin.update_parameters(model)
    assert int(twin.n_averaged.array) == int(other.n_averaged.array) + 1


def test_other_models_are_refused_and_change_nothing() -> None:
    model = nn.Linear(2, 2)
    averaged = AveragedModel(model)
    before = {name: value.copy() for name, value in averaged.arrays().items()}
    others = (nn.Linear(2, 3), nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))
    for other in others:
        with pytest.raises(cr.ShapeError, match="parameters of the same number and shapes"):
            averaged.update_parameters(other)
    normed = AveragedModel(nn.BatchNorm1d(2))
    with pytest.raises(cr.ShapeError, match="buffers of the same number and shapes"):
        normed.update_parameters(nn.BatchNorm1d(2, track_running_stats=False))
    for name, value in averaged.arrays().items():
        np.testing.assert_array_equal(value, before[name])


def test_misuse() -> None:
    both = {"avg_fn": get_swa_avg_fn(), "multi_avg_fn": get_swa_multi_avg_fn()}
    with pytest.raises(ValueError, match="avg_fn or multi_avg_fn, not both"):
        AveragedModel(nn.Linear(1, 1), **both)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected a module"):
        AveragedModel(3)  # type: ignore[arg-type]
    for make in (get_ema_avg_fn, get_ema_multi_avg_fn):
        for decay in (-0.1, 1.1, float("nan")):
            with pytest.raises(ValueError, match="a decay from 0 to 1"):
                make(decay)
    with pytest.raises(cr.GraphError, match="no values"):
        AveragedModel(nn.Linear(1, 1)).update_parameters(nn.Linear(1, 1, device="meta"))


def test_names() -> None:
    assert cr.optim.swa_utils is swa_utils
    assert all(getattr(averaging, n) is getattr(swa_utils, n) for n in swa_utils.__all__)


# update_bn


def batches() -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [rng.normal(k, 1 + k, (8, 1, 4, 4)).astype(np.float32) for k in range(3)]


@pytest.mark.parametrize("form", ["arrays", "tensors", "tuples", "lists"])
def test_statistics_are_the_means_over_the_batches(form: str) -> None:
    forms: dict[str, Any] = {
        "arrays": batches(),
        "tensors": [cr.tensor(x) for x in batches()],
        "tuples": [(x, np.zeros(8)) for x in batches()],
        "lists": [[x, np.zeros(8)] for x in batches()],
    }
    model = nn.Sequential(nn.BatchNorm2d(1, momentum=0.3), nn.Dropout(0.5)).eval()
    model[1].training = True
    update_bn(forms[form], model, device="cpu")
    norm = model[0]
    np.testing.assert_allclose(norm.running_mean.array, [np.mean(batches())], rtol=1e-5)
    variances = [x.var(ddof=1) for x in batches()]
    np.testing.assert_allclose(norm.running_var.array, [np.mean(variances)], rtol=1e-5)
    assert norm.num_batches_tracked.item() == 3
    assert (norm.momentum, norm.training, model[1].training) == (0.3, False, True)
    assert all(p.grad is None for p in model.parameters())


def test_models_without_batch_norm_are_left_alone() -> None:
    update_bn(iter(()), nn.Linear(1, 1))


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_puts_everything_back(error: type[BaseException]) -> None:
    def broken() -> Any:
        yield batches()[0]
        raise error

    model = network().eval()
    vary(model, np.random.default_rng(0))
    before = {name: t.array.copy() for name, t in model.state_dict().items()}
    with pytest.raises(error):
        update_bn(broken(), model[:2])
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.array, before[name])
    assert not model[1].training
    assert model[1].momentum == 0.1


def test_a_loader_without_batches() -> None:
    model = nn.BatchNorm1d(1)
    model.running_mean.array[...] = 4
    with pytest.raises(ValueError, match="at least one batch"):
        update_bn(iter(()), model)
    assert model.running_mean.item() == 4
