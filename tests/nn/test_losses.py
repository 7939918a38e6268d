"""Losses as layers: settings, copies, weights as buffers, sums over tables."""

import copy
import inspect
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn

X = cr.tensor([[0.1, 0.6, 0.3], [0.2, 0.3, 0.5]])
Y = cr.tensor([[0.3, 0.3, 0.4], [0.5, 0.1, 0.4]])
Z = cr.tensor([[0.9, 0.0, 0.1], [0.1, 0.8, 0.1]])
SIGNS, LABELS = cr.tensor([[1, -1, 1], [1, 1, -1]]), cr.tensor([2, 0])
W = cr.tensor([1.0, 2.0, 0.5])
LOGS = cr.log_softmax(X, 1)

# Each loss with settings of its own, and what it is called with.
LOSSES: dict[str, tuple[Callable[[], nn.Module], tuple[Any, ...]]] = {
    "BCELoss": (lambda: nn.BCELoss(W), (X, Y)),
    "BCEWithLogitsLoss": (lambda: nn.BCEWithLogitsLoss(W, pos_weight=W), (X, Y)),
    "CTCLoss": (lambda: nn.CTCLoss(reduction="sum"), (LOGS, cr.tensor([2]), [2], [1])),
    "ContrastiveLoss": (lambda: nn.ContrastiveLoss(2.0, True), (X, Y, cr.tensor([1, 0]))),
    "CosineEmbeddingLoss": (lambda: nn.CosineEmbeddingLoss(0.1), (X, Y, cr.tensor([1, -1]))),
    "CrossEntropyLoss": (lambda: nn.CrossEntropyLoss(W, label_smoothing=0.1), (X, LABELS)),
    "EuclideanLoss": (lambda: nn.EuclideanLoss("sum"), (X, Y)),
    "GaussianNLLLoss": (lambda: nn.GaussianNLLLoss(full=True), (X, Y, Z)),
    "HingeEmbeddingLoss": (lambda: nn.HingeEmbeddingLoss(0.5), (X, SIGNS)),
    "HingeLoss": (lambda: nn.HingeLoss(2, W, 1), (X, LABELS)),
    "HuberLoss": (lambda: nn.HuberLoss("sum", 0.2), (X, Y)),
    "InfogainLoss": (lambda: nn.InfogainLoss(cr.ones(3, 3), 1), (X, LABELS)),
    "KLDivLoss": (lambda: nn.KLDivLoss(reduction="batchmean"), (LOGS, Y)),
    "L1HingeEmbeddingLoss": (lambda: nn.L1HingeEmbeddingLoss(0.5), (X, Y, cr.tensor([1, -1]))),
    "L1Loss": (lambda: nn.L1Loss(), (X, Y)),
    "LinearCrossEntropyLoss": (
        lambda: nn.LinearCrossEntropyLoss(3, 3, bias=True, weight=W, ignore_index=1),
        (X, LABELS),
    ),
    "MSELoss": (lambda: nn.MSELoss(), (X, Y)),
    "MarginLoss": (lambda: nn.MarginLoss(0.5), (X, SIGNS)),
    "MarginRankingLoss": (lambda: nn.MarginRankingLoss(0.5), (X, Y, SIGNS)),
    "MultiLabelMarginLoss": (lambda: nn.MultiLabelMarginLoss(), (X, cr.tensor([[0, 2, -1]] * 2))),
    "MultiLabelSoftMarginLoss": (lambda: nn.MultiLabelSoftMarginLoss(W), (X, Y)),
    "MultiMarginLoss": (lambda: nn.MultiMarginLoss(2, 0.5, W), (X, LABELS)),
    "MultinomialLogisticLoss": (lambda: nn.MultinomialLogisticLoss(W, 1), (X, LABELS)),
    "NLLLoss": (lambda: nn.NLLLoss(W, ignore_index=1), (LOGS, LABELS)),
    "PoissonNLLLoss": (lambda: nn.PoissonNLLLoss(False, True), (X, Y)),
    "SmoothL1Loss": (lambda: nn.SmoothL1Loss(beta=0.1), (X, Y)),
    "SoftMarginLoss": (lambda: nn.SoftMarginLoss(), (X, SIGNS)),
    "TripletMarginLoss": (lambda: nn.TripletMarginLoss(0.5, 1.0, swap=True), (X, Y, Z)),
    "TripletMarginWithDistanceLoss": (
        lambda: nn.TripletMarginWithDistanceLoss(margin=0.5),
        (X, Y, Z),
    ),
}
OTHERS = {"AdaptiveLogSoftmaxWithLoss"}
every = pytest.mark.parametrize("name", LOSSES)


def test_every_loss_stands_in_the_table() -> None:
    assert {n for n in nn.__all__ if n.endswith("Loss")} == {*LOSSES, *OTHERS}


@every
def test_gradients_reach_the_input(name: str) -> None:
    make, (x, *rest) = LOSSES[name]
    x = x.detach().requires_grad_()
    y = make()(x, *rest)
    assert y.shape == ()
    y.backward()
    assert x.grad is not None
    assert np.isfinite(np.asarray(x.grad)).all()
    assert np.asarray(x.grad).any()


@every
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_compute_the_same(name: str, duplicate: Callable[[Any], Any]) -> None:
    make, inputs = LOSSES[name]
    loss = make()
    twin = duplicate(loss)
    assert type(twin) is type(loss) is getattr(nn, name)
    assert repr(twin) == repr(loss)
    assert twin(*inputs).item() == loss(*inputs).item()


@every
def test_each_reduction(name: str) -> None:
    make, inputs = LOSSES[name]
    loss = make()
    parts = {}
    for reduction in ("none", "sum", "mean"):
        loss.reduction = reduction
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            parts[reduction] = loss(*inputs)
    np.testing.assert_allclose(parts["none"].sum().item(), parts["sum"].item(), rtol=1e-5)
    assert parts["mean"].shape == ()
    wrong = dict.fromkeys(["reduction"], "avg")
    infogain = (cr.ones(3, 3),) if name == "InfogainLoss" else ()
    sizes = (3, 3) if name == "LinearCrossEntropyLoss" else ()
    with pytest.raises(ValueError, match="'avg'"):
        getattr(nn, name)(*infogain, *sizes, **wrong)


@every
def test_signature_and_docstring_are_there(name: str) -> None:
    assert ">>>" in (inspect.getdoc(getattr(nn, name)) or "")
    assert getattr(nn, name).__module__.startswith("chainrule.nn.")


def test_settings_show_and_are_read_at_every_call() -> None:
    loss = nn.SmoothL1Loss(beta=0.5)
    assert repr(loss) == "SmoothL1Loss(reduction='mean', beta=0.5)"
    before = loss(X, Y).item()
    loss.beta = 0.01
    assert loss(X, Y).item() != before
    assert loss(input=X, target=Y).item() == loss(X, Y).item()
    with pytest.raises(TypeError, match="settings"):
        nn.SmoothL1Loss(gamma=1)


def test_the_flags_of_old_warn_once_at_construction() -> None:
    with pytest.warns(UserWarning, match="write reduction='sum'") as seen:
        losses = [nn.SmoothL1Loss(False), nn.KLDivLoss(size_average=False)]
    assert len(seen) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [loss(X, Y).shape for loss in losses] == [(), ()]
    assert [loss.reduction for loss in losses] == ["sum", "sum"]
    with pytest.warns(UserWarning, match="write reduction='none'"):
        assert nn.SoftMarginLoss(reduce=False)(X, SIGNS).shape == (2, 3)
    with pytest.warns(FutureWarning, match="write NLLLoss"):
        assert isinstance(nn.NLLLoss2d(), nn.NLLLoss)


def test_weights_are_buffers() -> None:
    for loss, key in (
        (nn.HingeLoss(weight=W), "weight"),
        (nn.MultiLabelSoftMarginLoss(W), "weight"),
        (nn.MultinomialLogisticLoss(W), "weight"),
        (nn.InfogainLoss(cr.ones(3, 3)), "infogain"),
    ):
        assert list(loss.state_dict()) == [key]
        assert list(loss.double().state_dict()[key].shape)
        assert loss.state_dict()[key].dtype == np.float64


def test_sums_over_tables() -> None:
    mse, l1 = nn.MSELoss(), nn.L1Loss()
    both = nn.MultiCriterion().add(mse).add(l1, 0.5)
    expected = mse(X, Y).item() + 0.5 * l1(X, Y).item()
    np.testing.assert_allclose(both(X, Y).item(), expected, rtol=1e-6)
    assert "weights=[1.0, 0.5]" in repr(both)
    parallel = nn.ParallelCriterion().add(mse, 2).add(nn.NLLLoss())
    total = 2 * mse(X, Y).item() + nn.NLLLoss()(LOGS, LABELS).item()
    np.testing.assert_allclose(parallel((X, LOGS), (Y, LABELS)).item(), total, rtol=1e-6)
    shared = nn.ParallelCriterion(repeat_target=True).add(mse).add(l1)
    total = mse(X, Y).item() + l1(Z, Y).item()
    np.testing.assert_allclose(shared((X, Z), Y).item(), total, rtol=1e-6)
    assert nn.CriterionTable(mse)([X, Y]).item() == mse(X, Y).item()
    x = X.detach().requires_grad_()
    copy.deepcopy(both)(x, Y).backward()
    assert x.grad is not None


def test_sums_refuse_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"MultiCriterion: expected at least one loss; add one"):
        nn.MultiCriterion()(X, Y)
    with pytest.raises(TypeError, match=r"MultiCriterion: expected a loss that is a module"):
        nn.MultiCriterion().add(lambda x, t: x)
    with pytest.raises(TypeError, match="MultiCriterion weight: expected a number"):
        nn.MultiCriterion().add(nn.MSELoss(), "a")
    with pytest.raises(ValueError, match=r"as many inputs and targets as losses, 1; got inputs 2"):
        nn.ParallelCriterion().add(nn.MSELoss())((X, Y), (X, Y))


def test_settings_that_are_refused() -> None:
    for make, kind, text in (
        (lambda: nn.HuberLoss(delta="a"), TypeError, "HuberLoss delta: expected a number"),
        (lambda: nn.HingeLoss(3), ValueError, "HingeLoss: expected p = 1 or 2; got p 3"),
        (lambda: nn.TripletMarginLoss(0), ValueError, "TripletMarginLoss: expected a positive"),
        (lambda: nn.LinearCrossEntropyLoss(2, 3, weight=cr.ones(2)), ValueError, "each of 3"),
        (lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 9, [5, 3]), ValueError, "cutoffs that rise"),
    ):
        with pytest.raises(kind) as caught:
            make()
        assert text in str(caught.value)


def test_adaptive_log_softmax_is_a_distribution() -> None:
    layer = nn.AdaptiveLogSoftmaxWithLoss(6, 12, [3, 7], 2.0).double()
    x = cr.randn(20, 6, dtype=cr.float64, requires_grad=True)
    logs = layer.log_prob(x).detach().numpy()
    np.testing.assert_allclose(np.exp(logs).sum(axis=1), 1)
    labels = np.arange(20) % 12
    output, loss = layer(x, cr.tensor(labels))
    np.testing.assert_allclose(output.detach().numpy(), logs[np.arange(20), labels])
    np.testing.assert_allclose(loss.item(), -logs[np.arange(20), labels].mean())
    loss.backward()
    assert all(p.grad is not None for p in layer.parameters())
    assert layer.predict(x).tolist() == logs.argmax(axis=1).tolist()
    with pytest.raises(IndexError, match=r"labels in 0..11; got lowest 0, highest 12"):
        layer(x[:2], cr.tensor([0, 12]))
