"""Every layer against torch.nn: names, shapes, reprs, outputs, gradients, buffers, refusals."""

from __future__ import annotations

import copy
import inspect
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import chainrule as cr
from tests.parity.harness import _compare_gradients, _outputs, _same, check, misuse

Build = Callable[[Any], Any]

SEQUENCES, IMAGES, VOLUMES = (2, 4, 9), (2, 4, 7, 6), (2, 4, 4, 5, 3)

LAYERS: list[tuple[Build, tuple[int, ...]]] = [
    (lambda nn: nn.Linear(6, 3), (4, 6)),
    (lambda nn: nn.Linear(6, 3, bias=False), (2, 3, 6)),
    (lambda nn: nn.Linear(6, 3), (6,)),
    (lambda nn: nn.Linear(6, 1), (0, 6)),
    (lambda nn: nn.Flatten(), IMAGES),
    (lambda nn: nn.Flatten(2), IMAGES),
    (lambda nn: nn.Flatten(0, -2), IMAGES),
    (lambda nn: nn.Unflatten(1, (2, 2)), IMAGES),
    (lambda nn: nn.Unflatten(-1, (3, -1)), IMAGES),
    (lambda nn: nn.Identity(3, a=4), IMAGES),
    (lambda nn: nn.Conv1d(4, 6, 3), SEQUENCES),
    (lambda nn: nn.Conv1d(4, 6, 3, 2, 1, 2, 2, False), SEQUENCES),
    (lambda nn: nn.Conv1d(4, 2, 3, padding="same", padding_mode="circular"), SEQUENCES),
    (lambda nn: nn.Conv2d(4, 6, 3), IMAGES),
    (lambda nn: nn.Conv2d(4, 6, 3), IMAGES[1:]),
    (lambda nn: nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2), 2), IMAGES),
    (lambda nn: nn.Conv2d(4, 8, 3, groups=4, bias=False), IMAGES),
    (lambda nn: nn.Conv2d(4, 6, 4, padding="same"), IMAGES),
    (lambda nn: nn.Conv2d(4, 6, 3, padding="same", dilation=2, padding_mode="reflect"), IMAGES),
    (lambda nn: nn.Conv2d(4, 6, 3, padding=(2, 1), padding_mode="replicate"), IMAGES),
    (lambda nn: nn.Conv2d(4, 6, 3, padding=2, padding_mode="circular", stride=2), IMAGES),
    (lambda nn: nn.Conv2d(4, 6, 3, padding="valid", padding_mode="reflect"), IMAGES),
    (lambda nn: nn.Conv2d(4, 6, 3, padding="valid"), IMAGES),
    (lambda nn: nn.Conv2d(4, 6, [3, 3]), (0, 4, 7, 6)),
    (lambda nn: nn.Conv3d(4, 6, (1, 2, 3), padding=1), VOLUMES),
    (lambda nn: nn.Conv3d(4, 2, 2, padding=1, padding_mode="replicate"), VOLUMES),
    (lambda nn: nn.ConvTranspose1d(4, 6, 3), SEQUENCES),
    (lambda nn: nn.ConvTranspose1d(4, 6, 3, 2, 1, 1, 2, False, 2), SEQUENCES),
    (lambda nn: nn.ConvTranspose2d(4, 6, 3), IMAGES),
    (lambda nn: nn.ConvTranspose2d(4, 6, 3, padding=1), IMAGES[1:]),
    (lambda nn: nn.ConvTranspose2d(4, 6, (3, 2), (2, 3), (1, 0), (1, 2), 2, True, (1, 2)), IMAGES),
    (lambda nn: nn.ConvTranspose2d(4, 8, 3, groups=4, bias=False), IMAGES),
    (lambda nn: nn.ConvTranspose2d(4, 6, [4, 4], stride=2, padding=1), (0, 4, 7, 6)),
    (lambda nn: nn.ConvTranspose3d(4, 6, (1, 2, 3), 2, padding=(0, 1, 1)), VOLUMES),
    (lambda nn: nn.Unfold(2), IMAGES),
    (lambda nn: nn.Unfold((3, 2), (1, 2), (1, 0), 2), IMAGES),
    (lambda nn: nn.Fold((4, 5), 2), (2, 8, 12)),
    (lambda nn: nn.Fold((4, 5), (2, 2), dilation=1, padding=1, stride=2), (2, 8, 9)),
    (lambda nn: nn.MaxPool1d(3), SEQUENCES),
    (lambda nn: nn.MaxPool1d(3, 2, 1, return_indices=True), SEQUENCES),
    (lambda nn: nn.MaxPool2d(2), IMAGES),
    (lambda nn: nn.MaxPool2d((3, 2), (2, 1), (1, 1), 1, True, True), IMAGES),
    (lambda nn: nn.MaxPool2d(2, dilation=2, stride=1), IMAGES[1:]),
    (lambda nn: nn.MaxPool3d(2, ceil_mode=True), VOLUMES),
    (lambda nn: nn.AvgPool1d(3, 2, 1, True, False), SEQUENCES),
    (lambda nn: nn.AvgPool1d(3), SEQUENCES),
    (lambda nn: nn.AvgPool2d(3, 2, 1), IMAGES),
    (lambda nn: nn.AvgPool2d((3, 2), padding=(1, 0), ceil_mode=True), IMAGES),
    (lambda nn: nn.AvgPool2d(2, count_include_pad=False, padding=1), IMAGES),
    (lambda nn: nn.AvgPool2d(2, divisor_override=3), IMAGES),
    (lambda nn: nn.AvgPool3d((2, 3, 1), 1), VOLUMES),
    (lambda nn: nn.AdaptiveAvgPool1d(4), SEQUENCES),
    (lambda nn: nn.AdaptiveAvgPool2d(1), IMAGES),
    (lambda nn: nn.AdaptiveAvgPool2d((3, None)), IMAGES),
    (lambda nn: nn.AdaptiveAvgPool2d(output_size=(9, 4)), IMAGES),
    (lambda nn: nn.AdaptiveAvgPool3d((2, 3, 2)), VOLUMES),
    (lambda nn: nn.AdaptiveMaxPool1d(4), SEQUENCES),
    (lambda nn: nn.AdaptiveMaxPool2d((3, 2), return_indices=True), IMAGES),
    (lambda nn: nn.AdaptiveMaxPool3d(2), VOLUMES),
    (lambda nn: nn.LPPool1d(2, 3, stride=2), SEQUENCES),
    (lambda nn: nn.LPPool2d(3.0, (3, 2), ceil_mode=True), IMAGES),
    (lambda nn: nn.LPPool2d(float("inf"), 2), IMAGES[1:]),
    (lambda nn: nn.LPPool3d(1, 2, (1, 2, 1)), VOLUMES),
    (lambda nn: nn.BatchNorm1d(4), (5, 4)),
    (lambda nn: nn.BatchNorm1d(4, 0.1, 0.7), SEQUENCES),
    (lambda nn: nn.BatchNorm1d(4, momentum=None), SEQUENCES),
    (lambda nn: nn.BatchNorm2d(4), IMAGES),
    (lambda nn: nn.BatchNorm2d(4, affine=False), IMAGES),
    (lambda nn: nn.BatchNorm2d(4, bias=False), IMAGES),
    (lambda nn: nn.BatchNorm2d(4, track_running_stats=False), IMAGES),
    (lambda nn: nn.BatchNorm2d(4, momentum=0.0), IMAGES),
    (lambda nn: nn.BatchNorm3d(4, 1e-3), VOLUMES),
    (lambda nn: nn.InstanceNorm1d(4), SEQUENCES),
    (lambda nn: nn.InstanceNorm1d(4, 0.1, 0.7, True, True), SEQUENCES),
    (lambda nn: nn.InstanceNorm1d(4, track_running_stats=True), SEQUENCES[1:]),
    (lambda nn: nn.InstanceNorm2d(4, affine=True), IMAGES),
    (lambda nn: nn.InstanceNorm2d(4, affine=True, bias=False), IMAGES[1:]),
    (lambda nn: nn.InstanceNorm2d(4, momentum=None, track_running_stats=True), IMAGES),
    (lambda nn: nn.InstanceNorm3d(4, 1e-3, track_running_stats=True), VOLUMES),
    (lambda nn: nn.InstanceNorm3d(4), VOLUMES[1:]),
    (lambda nn: nn.LayerNorm(6), IMAGES),
    (lambda nn: nn.LayerNorm([7, 6], 1e-3), IMAGES),
    (lambda nn: nn.LayerNorm(IMAGES[1:], bias=False), IMAGES),
    (lambda nn: nn.LayerNorm((6,), elementwise_affine=False), IMAGES),
    (lambda nn: nn.LayerNorm(9), (0, 4, 9)),
    (lambda nn: nn.RMSNorm(6), IMAGES),
    (lambda nn: nn.RMSNorm([7, 6], 1e-3), IMAGES),
    (lambda nn: nn.RMSNorm((6,), elementwise_affine=False), IMAGES),
    (lambda nn: nn.GroupNorm(2, 4), IMAGES),
    (lambda nn: nn.GroupNorm(4, 4, 1e-3, bias=False), SEQUENCES),
    (lambda nn: nn.GroupNorm(1, 4, affine=False), (5, 4)),
    (lambda nn: nn.CrossMapLRN2d(9, 0.5), IMAGES),
    (lambda nn: nn.LocalResponseNorm(5), IMAGES),
    (lambda nn: nn.LocalResponseNorm(2, 0.5, 0.5, 2.0), SEQUENCES),
    (lambda nn: nn.Dropout(0.0), IMAGES),
    (lambda nn: nn.ReLU(), IMAGES),
    (lambda nn: nn.LeakyReLU(0.2), IMAGES),
    (lambda nn: nn.PReLU(), IMAGES),
    (lambda nn: nn.PReLU(4, 0.1), IMAGES),
    (lambda nn: nn.ELU(1.5), IMAGES),
    (lambda nn: nn.Softplus(2, threshold=3), IMAGES),
    (lambda nn: nn.Sigmoid(), IMAGES),
    (lambda nn: nn.Tanh(), IMAGES),
    (lambda nn: nn.LogSigmoid(), IMAGES),
    (lambda nn: nn.CELU(2.0), IMAGES),
    (lambda nn: nn.SELU(), IMAGES),
    (lambda nn: nn.GELU(), IMAGES),
    (lambda nn: nn.GELU("tanh"), IMAGES),
    (lambda nn: nn.SiLU(), IMAGES),
    (lambda nn: nn.Mish(), IMAGES),
    (lambda nn: nn.GLU(1), IMAGES),
    (lambda nn: nn.GLU(), IMAGES),
    (lambda nn: nn.RReLU(0.2, 0.2), IMAGES),
    (lambda nn: nn.ReLU6(), IMAGES),
    (lambda nn: nn.Hardtanh(), IMAGES),
    (lambda nn: nn.Hardtanh(-2, 0.5), IMAGES),
    (lambda nn: nn.Hardswish(), IMAGES),
    (lambda nn: nn.Hardshrink(), IMAGES),
    (lambda nn: nn.Softshrink(0.25), IMAGES),
    (lambda nn: nn.Softsign(), IMAGES),
    (lambda nn: nn.Tanhshrink(), IMAGES),
    (lambda nn: nn.Threshold(0.1, 20), IMAGES),
    (lambda nn: nn.Softmax2d(), IMAGES),
    (lambda nn: nn.Softmax2d(), IMAGES[1:]),
    (lambda nn: nn.AlphaDropout(0.0), IMAGES),
    (lambda nn: nn.FeatureAlphaDropout(0.0), IMAGES),
    (lambda nn: nn.Softmax(1), IMAGES),
    (lambda nn: nn.LogSoftmax(dim=-1), IMAGES),
    (lambda nn: nn.Softmin(0), IMAGES),
    (
        lambda nn: nn.Sequential(
            OrderedDict(
                conv=nn.Conv2d(4, 3, 3, bias=False),
                norm=nn.BatchNorm2d(3),
                rest=nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 5)),
            )
        ),
        IMAGES,
    ),
]


def name(case: Any) -> str:
    return repr(case[0](cr.nn)).replace("\n", "")[:60] if isinstance(case, tuple) else str(case)


every = pytest.mark.parametrize("case", LAYERS, ids=name)


def pair(build: Build, dtype: str) -> tuple[Any, Any]:
    """The same layer twice, with torch's initial values."""
    theirs, ours = build(torch.nn), build(cr.nn)
    if dtype == "float64":
        theirs, ours = theirs.double(), ours.double()
    keys = ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    assert keys == ([], [])
    return theirs, ours


def compare_state(theirs: Any, ours: Any) -> None:
    t, o = theirs.state_dict(), ours.state_dict()
    assert list(o) == list(t)
    for key in t:
        _same(key, t[key], o[key], None, None)


@every
def test_names_shapes_kinds_and_repr(case: Any) -> None:
    build, _ = case
    theirs, ours = build(torch.nn), build(cr.nn)
    described = [
        {k: (tuple(v.shape), str(v.dtype).replace("torch.", "")) for k, v in m.state_dict().items()}
        for m in (theirs, ours)
    ]
    assert described[1] == described[0]
    assert list(described[1]) == list(described[0])
    assert repr(ours) == repr(theirs)
    for listing in ("named_parameters", "named_buffers", "named_modules", "named_children"):
        a, b = (list(dict(getattr(m, listing)())) for m in (theirs, ours))
        assert b == a, listing


ABSENT = {"training"}


@every
def test_settings_are_the_same_attributes(case: Any) -> None:
    build, _ = case
    theirs, ours = build(torch.nn), build(cr.nn)
    for key, value in vars(theirs).items():
        if key.startswith("_") or key in ABSENT:
            continue
        if isinstance(value, bool | int | float | str | tuple | list | None):
            assert getattr(ours, key) == value, key
            assert type(getattr(ours, key)) is type(value), key


@every
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_outputs_gradients_and_buffers(case: Any, training: bool, dtype: str) -> None:
    build, shape = case
    theirs, ours = pair(build, dtype)
    theirs.train(training)
    ours.train(training)
    rng = np.random.default_rng(0)
    for _ in range(2):
        x = (1.3 * rng.standard_normal(shape) + 0.2).astype(dtype)
        t_in = [torch.tensor(x, requires_grad=True), *theirs.parameters()]
        o_in = [cr.tensor(x, requires_grad=True), *ours.parameters()]
        t_out, o_out = _outputs(theirs(t_in[0])), _outputs(ours(o_in[0]))
        assert len(t_out) == len(o_out)
        for i, (t, o) in enumerate(zip(t_out, o_out, strict=True)):
            _same(f"output {i}", t, o, None, None)
        _compare_gradients(t_out, o_out, t_in, o_in, None, None)
        compare_state(theirs, ours)
    theirs.zero_grad()
    ours.zero_grad()
    assert all(p.grad is None for p in ours.parameters())


# Losses

SCORES = np.random.default_rng(1).standard_normal((5, 4))
LABELS = np.array([0, 3, 1, 1, 2])
WEIGHT = np.array([0.5, 1.0, 2.0, 0.3])
SHARES = np.random.default_rng(2).dirichlet(np.ones(4), 5)
PROBABILITIES = np.random.default_rng(3).uniform(0.05, 0.95, (5, 4))

LOSSES: list[tuple[Callable[[Any, Any, Any], Any], np.ndarray, np.ndarray]] = [
    *[
        (lambda nn, w, r=r: nn.MSELoss(reduction=r), SCORES, SHARES)
        for r in ("none", "mean", "sum")
    ],
    (lambda nn, w: nn.L1Loss(reduction="sum"), SCORES, SHARES),
    (lambda nn, w: nn.L1Loss(), SCORES, SHARES),
    (lambda nn, w: nn.CrossEntropyLoss(), SCORES, LABELS),
    (lambda nn, w: nn.CrossEntropyLoss(w, None, 1, None, "sum", 0.1), SCORES, LABELS),
    (lambda nn, w: nn.CrossEntropyLoss(weight=w, ignore_index=3), SCORES, LABELS),
    (lambda nn, w: nn.CrossEntropyLoss(w, label_smoothing=0.2), SCORES, SHARES),
    (lambda nn, w: nn.CrossEntropyLoss(reduction="none"), SCORES[0], LABELS[0:1].reshape(())),
    (lambda nn, w: nn.NLLLoss(w), SCORES, LABELS),
    (lambda nn, w: nn.NLLLoss(ignore_index=1, reduction="none"), SCORES, LABELS),
    (lambda nn, w: nn.MultiMarginLoss(), SCORES, LABELS),
    (lambda nn, w: nn.MultiMarginLoss(2, 0.5, w, reduction="none"), SCORES, LABELS),
    (lambda nn, w: nn.BCELoss(), PROBABILITIES, SHARES),
    (lambda nn, w: nn.BCELoss(w, reduction="sum"), PROBABILITIES, SHARES),
    (lambda nn, w: nn.BCEWithLogitsLoss(), SCORES, SHARES),
    (lambda nn, w: nn.BCEWithLogitsLoss(w, pos_weight=w, reduction="none"), SCORES, SHARES),
]


@pytest.mark.parametrize("case", range(len(LOSSES)))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_losses(case: int, dtype: str) -> None:
    build, x, target = LOSSES[case]
    theirs = build(torch.nn, torch.tensor(WEIGHT.astype(dtype)))
    ours = build(cr.nn, cr.tensor(WEIGHT.astype(dtype)))
    assert repr(ours) == repr(theirs)
    compare_state(theirs, ours)
    goal = target.astype(dtype) if target.dtype.kind == "f" else target
    t_in = [torch.tensor(x.astype(dtype), requires_grad=True)]
    o_in = [cr.tensor(x.astype(dtype), requires_grad=True)]
    t, o = theirs(t_in[0], torch.tensor(goal)), ours(o_in[0], cr.tensor(goal))
    _same("loss", t, o, None, None)
    _compare_gradients([t], [o], t_in, o_in, None, None)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("old", [(True, True), (True, False), (False, True), (None, False)])
def test_reductions_in_the_older_words(old: tuple[Any, Any]) -> None:
    for kind in ("MSELoss", "L1Loss"):
        theirs, ours = getattr(torch.nn, kind)(*old), getattr(cr.nn, kind)(*old)
        assert ours.reduction == theirs.reduction


# Refusals


def zeros(lib: Any, *shape: int) -> Any:
    return lib.zeros(*shape)


@pytest.mark.parametrize(
    "call",
    [
        lambda lib: lib.nn.Conv2d(3, 4, 3, groups=2),
        lambda lib: lib.nn.Conv2d(4, 3, 3, groups=2),
        lambda lib: lib.nn.Conv2d(4, 4, 3, groups=0),
        lambda lib: lib.nn.Conv2d(4, 4, 3, groups=-1),
        lambda lib: lib.nn.Conv2d(4, 4, 3, padding="full"),
        lambda lib: lib.nn.Conv2d(4, 4, 3, stride=2, padding="same"),
        lambda lib: lib.nn.Conv2d(4, 4, 3, padding_mode="wrap"),
        lambda lib: lib.nn.Conv2d(4, -4, 3),
        lambda lib: lib.nn.Conv2d(4, 4, 3)(zeros(lib, 1, 3, 5, 5)),
        lambda lib: lib.nn.Conv2d(4, 4, 3)(zeros(lib, 1, 4, 2, 5)),
        lambda lib: lib.nn.Conv2d(4, 4, 3)(zeros(lib, 4, 5)),
        lambda lib: lib.nn.Linear(3, -1),
        lambda lib: lib.nn.Linear("3", 1),
        lambda lib: lib.nn.Linear(3, 2)(zeros(lib, 2, 4)),
        lambda lib: lib.nn.Linear(3, 2)(lib.zeros(2, 3, dtype=lib.float64)),
        lambda lib: lib.nn.Linear(3, 2)(lib.zeros(2, 3, dtype=lib.int64)),
        lambda lib: lib.nn.Dropout(1.1),
        lambda lib: lib.nn.Dropout(-0.1),
        lambda lib: lib.nn.Dropout2d(2),
        lambda lib: lib.nn.AlphaDropout(1.5),
        lambda lib: lib.nn.FeatureAlphaDropout(-0.1),
        lambda lib: lib.nn.FeatureAlphaDropout()(zeros(lib, 3)),
        lambda lib: lib.nn.Hardtanh(1, 1),
        lambda lib: lib.nn.Hardtanh(2, 1),
        lambda lib: lib.nn.Softmax2d()(zeros(lib, 2, 3)),
        lambda lib: lib.nn.GLU()(zeros(lib, 2, 3)),
        lambda lib: lib.nn.GELU("exact")(zeros(lib, 2)),
        lambda lib: lib.nn.Softshrink(-1)(zeros(lib, 2)),
        lambda lib: lib.nn.RReLU(0.5, 0.1)(zeros(lib, 2)),
        lambda lib: lib.nn.CELU(0)(zeros(lib, 2)),
        lambda lib: lib.nn.BatchNorm1d(3)(zeros(lib, 3)),
        lambda lib: lib.nn.BatchNorm2d(3)(zeros(lib, 2, 3, 4)),
        lambda lib: lib.nn.BatchNorm3d(3)(zeros(lib, 2, 3, 4, 4)),
        lambda lib: lib.nn.BatchNorm2d(3)(zeros(lib, 2, 4, 5, 5)),
        lambda lib: lib.nn.BatchNorm1d(3)(zeros(lib, 1, 3)),
        lambda lib: lib.nn.MultiMarginLoss(p=3),
        lambda lib: lib.nn.MultiMarginLoss(weight=lib.ones(2, 2)),
        lambda lib: lib.nn.CrossEntropyLoss()(zeros(lib, 2, 3), lib.tensor([0, 3])),
        lambda lib: lib.nn.CrossEntropyLoss(reduction="avg")(zeros(lib, 2, 3), lib.tensor([0, 1])),
        lambda lib: lib.nn.MSELoss(reduction="avg")(zeros(lib, 2), zeros(lib, 2)),
        lambda lib: lib.nn.BCELoss()(lib.full((2,), 1.5), zeros(lib, 2)),
        lambda lib: lib.nn.MaxPool2d(3)(zeros(lib, 1, 1, 2, 2)),
        lambda lib: lib.nn.MaxPool2d(2, padding=2)(zeros(lib, 1, 1, 4, 4)),
        lambda lib: lib.nn.AvgPool2d(2)(zeros(lib, 4, 4)),
        lambda lib: lib.nn.AdaptiveAvgPool2d((1, 2, 3))(zeros(lib, 1, 1, 4, 4)),
        lambda lib: lib.nn.Unflatten(1, 3),
        lambda lib: lib.nn.Unflatten(1, (2, 2.0)),
        lambda lib: lib.nn.Unflatten(1, (2, 3))(zeros(lib, 1, 5)),
        lambda lib: lib.nn.Flatten(3)(zeros(lib, 2, 2)),
        lambda lib: lib.nn.Sequential(3),
        lambda lib: lib.nn.Sequential(lib.nn.ReLU),
        lambda lib: lib.nn.Sequential(lib.nn.ReLU())[1],
        lambda lib: lib.nn.Sequential(lib.nn.ReLU())[-2],
        lambda lib: lib.nn.ModuleList([3]),
        lambda lib: lib.nn.ModuleList([lib.nn.ReLU()])[1],
        lambda lib: lib.nn.ModuleList().extend(lib.nn.ReLU()),
        lambda lib: lib.nn.ModuleDict({"a": 3}),
        lambda lib: lib.nn.ModuleDict([("a", lib.nn.ReLU(), 1)]),
    ],
)
def test_misuse(call: Callable[[Any], Any]) -> None:
    misuse(call)


@pytest.mark.parametrize(
    "call",
    [
        lambda nn: nn.ReLU(1, 2),
        lambda nn: nn.ReLU(slope=1),
        lambda nn: nn.Linear(3),
        lambda nn: nn.Conv2d(3, 3),
        lambda nn: nn.MaxPool2d(),
        lambda nn: nn.LocalResponseNorm(),
        lambda nn: nn.AdaptiveAvgPool2d(),
        lambda nn: nn.Dropout(0.5, True, 3),
    ],
)
def test_missing_and_unknown_arguments(call: Build) -> None:
    for nn in (torch.nn, cr.nn):
        with pytest.raises(TypeError):
            call(nn)


# Containers: the same program gives the same names, order and repr


def blocks(nn: Any) -> list[Any]:
    return [nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.Linear(2, 2), nn.Tanh()]


def delete_slice(nn: Any) -> Any:
    net = nn.Sequential(*blocks(nn))
    del net[1:4:2]
    return net


def delete_first(nn: Any) -> Any:
    net = nn.ModuleList(blocks(nn))
    del net[0]
    del net[-1]
    return net


def replace(nn: Any) -> Any:
    net = nn.Sequential(*blocks(nn))
    net[-2] = nn.Sigmoid()
    return net


def insert(nn: Any) -> Any:
    net = nn.ModuleList(blocks(nn))
    net.insert(1, nn.ELU())
    net.insert(6, nn.Sigmoid())
    return net


def pop(nn: Any) -> Any:
    net = nn.Sequential(*blocks(nn))
    net.pop(1)
    return net


def named_after(nn: Any) -> Any:
    return nn.Sequential(OrderedDict(a=nn.ReLU(), b=nn.Tanh())).append(nn.ELU())


def dictionary(nn: Any) -> Any:
    net = nn.ModuleDict({"b": nn.ReLU(), "a": nn.Linear(2, 3)})
    net["c"] = nn.Tanh()
    net.update(OrderedDict(a=nn.ELU(), d=nn.Sigmoid()))
    net.pop("b")
    return net


@pytest.mark.parametrize(
    "program",
    [
        lambda nn: nn.Sequential(),
        lambda nn: nn.Sequential(*blocks(nn)),
        lambda nn: nn.Sequential(*blocks(nn))[1:3],
        lambda nn: nn.Sequential(*blocks(nn))[::-2],
        lambda nn: nn.Sequential(*blocks(nn)) + nn.Sequential(nn.ELU()),
        lambda nn: nn.Sequential(nn.ReLU(), nn.Tanh()) * 3,
        lambda nn: 2 * nn.Sequential(nn.ReLU(), nn.Tanh()),
        lambda nn: nn.Sequential(nn.ReLU()).extend(nn.Sequential(nn.Tanh(), nn.ELU())),
        lambda nn: nn.Sequential(nn.ReLU()).append(nn.Tanh()).insert(0, nn.ELU()),
        lambda nn: nn.ModuleList(),
        lambda nn: nn.ModuleList(blocks(nn)),
        lambda nn: nn.ModuleList(blocks(nn))[2:],
        lambda nn: nn.ModuleList(blocks(nn)) + nn.ModuleList([nn.ELU()]),
        lambda nn: nn.ModuleList([nn.Sequential(*blocks(nn)) for _ in range(3)]),
        lambda nn: nn.ModuleDict({"b": nn.ReLU(), "a": nn.ModuleList(blocks(nn))}),
        delete_slice,
        delete_first,
        replace,
        insert,
        pop,
        named_after,
        dictionary,
    ],
)
def test_containers(program: Build) -> None:
    theirs, ours = program(torch.nn), program(cr.nn)
    assert list(dict(ours.named_modules())) == list(dict(theirs.named_modules()))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert len(ours) == len(theirs)
    assert repr(ours) == repr(theirs)
    assert repr(copy.deepcopy(ours)) == repr(theirs)


OURS = {
    "contrastive_loss",
    "euclidean_loss",
    "hinge_loss",
    "infogain_loss",
    "l1_cost",
    "l1_hinge_embedding_loss",
    "margin_loss",
    "multinomial_logistic_loss",
    "sigmoid_cross_entropy",
    "bnll",
    "maxout",
    "conv2d_map",
    "conv2d_relu",
    "conv_transpose2d_map",
    "fold1d",
    "fold3d",
    "unfold1d",
    "unfold3d",
    "batch_norm_relu",
    "add_relu",
    "relu_max_pool2d",
    "global_avg_pool",
    "global_max_pool",
    "spatial_pyramid_pool1d",
    "spatial_pyramid_pool2d",
    "spatial_pyramid_pool3d",
    "subsampling1d",
    "subsampling2d",
    "subsampling3d",
    "subtractive_norm",
    "divisive_norm",
    "contrastive_norm",
    "mean_variance_norm",
    "local_response_norm_within",
    "accuracy",
    "argmax_top_k",
    "batch_reindex",
    "binary_threshold",
    "crop",
    "eltwise",
    "filter_batch",
    "gradient_reversal",
    "inner_product",
    "l1_penalty",
    "reduction",
    "scaled_exp",
    "scaled_log",
    "scaled_power",
    "sparse_linear",
}
"""Functions that torch does not have."""


def test_functional_has_torchs_signatures() -> None:
    for key in cr.nn.functional.__all__:
        own = list(inspect.signature(getattr(cr.nn.functional, key)).parameters)
        theirs = getattr(torch.nn.functional, key, None)
        if theirs is None:
            assert key in OURS
            continue
        try:
            signature = inspect.signature(theirs)
        except ValueError:  # written in C++
            continue
        names = [p.name for p in signature.parameters.values() if p.kind != p.VAR_POSITIONAL]
        if names != ["kwargs"]:
            assert own[: len(names)] == names, key


def test_hard_sigmoid_and_older_names_of_limits() -> None:
    x = np.linspace(-4, 4, 33)
    check(lambda lib, x: lib.nn.Hardsigmoid()(x), x, rtol=1e-7)  # PyTorch's 1/6 is float32
    for lib in (torch, cr):
        with pytest.warns(FutureWarning, match="min_val"):
            layer = lib.nn.Hardtanh(min_value=-2.0)
        assert (layer.min_val, layer.max_val) == (-2.0, 1.0)


@pytest.mark.parametrize("name", ["Dropout1d", "Dropout2d", "Dropout3d"])
@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_dropping_channels_where_nothing_is_random(name: str, p: float) -> None:
    x = np.arange(1.0, 49.0).reshape((2, 3, 8) if name == "Dropout1d" else (2, 3, 2, 2, 2))
    x = x.reshape(2, 3, 2, 4) if name == "Dropout2d" else x
    check(lambda lib, x: getattr(lib.nn, name)(p).eval()(x), x)
    if p != 0.5:
        check(lambda lib, x: getattr(lib.nn, name)(p)(x), x)


def test_lists_of_parameters_have_torchs_names() -> None:
    def names(lib: Any) -> list[str]:
        model = lib.nn.Module()
        model.rows = lib.nn.ParameterList([lib.nn.Parameter(lib.ones(2)) for _ in range(3)])
        model.rows.append(lib.nn.Parameter(lib.zeros(1)))
        assert len(model.rows) == 4
        return [n for n, _ in model.named_parameters()]

    assert names(cr) == names(torch)
