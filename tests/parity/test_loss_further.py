"""The losses beyond the usual ones against PyTorch: arguments, gradients, kinks, misuse."""

import itertools
import warnings

import numpy as np
import pytest
import torch

import chainrule as cr
from tests.parity.harness import check, misuse

RNG = np.random.default_rng(0)
NAN, INF = np.nan, np.inf
SHAPES = ((), (5,), (3, 4), (2, 3, 4, 5), (0,), (0, 3), (3, 0))
each_reduction = pytest.mark.parametrize("reduction", ["mean", "sum", "none"])


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def normal(*shape):
    return np.asarray(RNG.standard_normal(shape))


def positive(*shape):
    return np.asarray(RNG.uniform(0.1, 4, shape))


def signs(*shape):
    return np.asarray(np.where(RNG.random(shape) < 0.5, 1.0, -1.0))


def call(name, **options):
    return lambda lib, *inputs: getattr(lib.nn.functional, name)(*inputs, **options)


def fixed(name, count=1, **options):
    """The same with gradients for the first `count` inputs alone."""

    def run(lib, *inputs):
        inputs = [x.detach() if i >= count else x for i, x in enumerate(inputs)]
        return getattr(lib.nn.functional, name)(*inputs, **options)

    return run


# Differences


@each_reduction
@pytest.mark.parametrize(("name", "option"), [("smooth_l1_loss", "beta"), ("huber_loss", "delta")])
@pytest.mark.parametrize("width", [0, 1, 0.5, 3.0])
def test_bent_differences(name, option, width, reduction):
    if name == "huber_loss" and width == 0:
        return
    run = call(name, reduction=reduction, **{option: width})
    for shape in SHAPES:
        check(run, np.asarray(2 * normal(*shape)), normal(*shape))
    for x, t in (((3, 4), (4,)), ((4,), (3, 4)), ((3, 1), (1, 4)), ((2, 1, 4), (3, 1)), ((), (3,))):
        check(run, np.asarray(2 * normal(*x)), normal(*t))
    kinks = np.array([0, -0.0, 1, -1, 0.5, -0.5, 3, -3, NAN, INF, -INF])
    check(run, kinks, np.zeros(11))
    check(run, np.zeros(11), kinks)
    check(lambda lib, x: run(lib, x, x), normal(3))
    check(lambda lib, x, t: run(lib, x.T, t[:, ::2]), normal(4, 3), normal(3, 8))
    check(run, normal(3), np.array([1, 2, 3]), gradients=name == "smooth_l1_loss")
    gradients = name == "smooth_l1_loss"  # PyTorch's other backward wants one dtype
    check(
        lambda lib, x, t: run(lib, x, t.double()), normal(3), normal(3), rtol=1e-5,
        gradients=gradients,
    )  # fmt: skip
    check(
        lambda lib, x, t: run(lib, x.double(), t), normal(3), normal(3), rtol=1e-5,
        gradients=gradients,
    )  # fmt: skip
    if name == "smooth_l1_loss":
        check(run, np.array([1, 2, 3]), normal(3))


@each_reduction
def test_huber_weights(reduction):
    def run(lib, x, t, w):
        return lib.nn.functional.huber_loss(x, t, reduction, 0.5, w)

    check(run, normal(3, 4), normal(3, 4), positive(3, 4))
    check(run, normal(3, 4), normal(4), positive(3, 4))
    check(run, normal(4), normal(3, 4), positive(4))
    check(run, normal(0, 2), normal(0, 2), positive(0, 2))
    check(run, normal(3), normal(3), np.array([1, 2, 0]))


def test_difference_misuse():
    x = normal(3, 4)
    for name in ("smooth_l1_loss", "huber_loss"):
        misuse(call(name), x, normal(3))
        misuse(call(name, reduction="foo"), x, x)
        misuse(call(name, reduction=None), x, x)
        misuse(call(name), np.array([1, 2]), np.array([1, 2]))
    for beta in (-1, NAN, "a"):
        misuse(call("smooth_l1_loss", beta=beta), x, x)
        misuse(call("huber_loss", delta=beta), x, x)
    misuse(call("huber_loss", delta=0), x, x)
    misuse(call("huber_loss"), np.array([1, 2]), normal(2))
    misuse(lambda lib, x, w: lib.nn.functional.huber_loss(x, x, weight=w), x, normal(4))
    misuse(lambda lib, x, w: lib.nn.functional.huber_loss(x, x, "foo", weight=w), x, x)
    assert call("smooth_l1_loss", beta=0.0, reduction="sum")(
        cr, cr.tensor([1, 5]), cr.tensor([2, 3])
    ).item() == 3  # fmt: skip


# Likelihoods


@pytest.mark.parametrize("reduction", ["mean", "sum", "none", "batchmean"])
@pytest.mark.parametrize("log_target", [False, True])
def test_kl_div(reduction, log_target):
    run = call("kl_div", reduction=reduction, log_target=log_target)
    target = normal if log_target else positive
    for shape in SHAPES:
        check(run, normal(*shape), target(*shape))
    for x, t in (((3, 4), (4,)), ((4,), (3, 4)), ((3, 1), (1, 4)), ((), (3,))):
        check(run, normal(*x), target(*t))
    check(run, normal(6), np.array([0, 1, 0.5, NAN, INF, -1.0]))
    check(run, np.array([-INF, -INF, NAN, INF]), np.array([0, 0.5, 0.5, 0.5]))
    check(lambda lib, x, t: run(lib, x.T, t[:, ::2]), normal(4, 3), target(3, 8))
    check(lambda lib, x, t: run(lib, x, t.double()), normal(3), target(3), rtol=1e-5)
    check(lambda lib, x, t: run(lib, x.double(), t), normal(3), target(3), rtol=1e-5)


def test_kl_div_misuse_and_warnings():
    x = normal(3, 4)
    misuse(call("kl_div"), x, normal(3))
    misuse(call("kl_div", reduction="foo"), x, x)
    misuse(call("kl_div"), x, np.ones((3, 4), int))
    misuse(call("kl_div"), np.ones((3, 4), int), x)
    for lib in (torch, cr):
        a = lib.tensor(x)
        with pytest.warns(UserWarning, match="batchmean"):
            lib.nn.functional.kl_div(a, a)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            lib.nn.functional.kl_div(a, a, reduction="batchmean")
    options = {"size_average": False, "reduction": "batchmean"}
    check(call("kl_div", **options), x, positive(3, 4))


@each_reduction
@pytest.mark.parametrize("log_input", [True, False])
@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("eps", [1e-8, 0.1])
def test_poisson(reduction, log_input, full, eps):
    options = {"log_input": log_input, "full": full, "eps": eps, "reduction": reduction}
    run = call("poisson_nll_loss", **options)
    for shape in SHAPES:
        check(run, positive(*shape), positive(*shape))
    for x, t in (((3, 4), (4,)), ((4,), (3, 4)), ((3, 1), (1, 4)), ((), (3,))):
        check(run, positive(*x), positive(*t))
    first = fixed("poisson_nll_loss", **options)  # by targets of 0 or less PyTorch gives NaN
    check(first, positive(7), np.array([0, 1, 2, -1, NAN, INF, 1e10]))
    check(first, np.array([0, -1.0, NAN, INF, -INF, 30]), positive(6))
    whole = np.array([0, 1, 2, 5])  # whose exponentials and logarithms are float32 in PyTorch
    check(run, positive(4), whole, rtol=1e-5)
    check(run, whole, positive(4), rtol=1e-5, atol=1e-6)
    check(lambda lib, x, t: run(lib, x.T, t[:, ::2]), positive(4, 3), positive(3, 8))
    check(run, whole, whole)


def test_poisson_misuse():
    x = positive(3, 4)
    misuse(call("poisson_nll_loss"), x, positive(3))
    misuse(call("poisson_nll_loss", reduction="foo"), x, x)
    misuse(call("poisson_nll_loss", eps="a"), x, x)


@each_reduction
@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("eps", [1e-6, 0.5])
def test_gaussian(reduction, full, eps):
    run = call("gaussian_nll_loss", full=full, eps=eps, reduction=reduction)
    for shape in SHAPES:
        check(run, normal(*shape), normal(*shape), positive(*shape))
    for v in ((3, 4), (3, 1), (1, 4), (3,)):
        for t in ((3, 4), (4,), (3, 1), (2, 3, 4)):
            check(run, normal(3, 4), normal(*t), positive(*v))
    check(run, normal(2, 3, 4), normal(4), positive(2, 1, 4))
    check(run, normal(3), normal(3), positive())
    check(run, normal(3), normal(3), np.array([0, 1e-9, NAN]))
    check(lambda lib, x, t: run(lib, x, t, 0.3), normal(3, 4), normal(3, 4))
    check(lambda lib, x, t, v: run(lib, x.T, t[:, ::2], v), normal(4, 3), normal(3, 8), positive(3))
    check(run, np.array([1, 2, 3]), np.array([1, 1, 1]), positive(3))
    check(
        lambda lib, x, t, v: run(lib, x, t, v.double()),
        normal(3),
        normal(3),
        positive(3),
        rtol=1e-5,
    )


def test_gaussian_misuse():
    x = normal(3, 4)
    for v in ((4,), (2,), (1, 1), (3, 4, 1), (1, 3, 4), (3, 2), ()):
        misuse(call("gaussian_nll_loss"), x, x, positive(*v))
    misuse(call("gaussian_nll_loss"), x, normal(3), positive(3, 4))
    misuse(call("gaussian_nll_loss"), x, x, -positive(3, 4))
    misuse(lambda lib, x: lib.nn.functional.gaussian_nll_loss(x, x, -0.5), x)
    misuse(call("gaussian_nll_loss", reduction="foo"), x, x, positive(3, 4))


# Signs


@each_reduction
@pytest.mark.parametrize("margin", [0, 0.5, -1, 2.0])
def test_margin_ranking(reduction, margin):
    run = call("margin_ranking_loss", margin=margin, reduction=reduction)
    for shape in SHAPES:
        check(run, normal(*shape), normal(*shape), signs(*shape))
        check(run, normal(*shape), normal(*shape), normal(*shape))
    check(run, normal(3, 4), normal(3, 1), signs(1, 4))
    grid = RNG.integers(-2, 3, (2, 40)) / 2.0
    check(run, grid[0], grid[1], signs(40))
    check(run, np.array([NAN, INF, -INF, 1]), np.array([0, 0, 0, INF]), signs(4))
    check(run, np.array([1, 2]), np.array([3, 1]), np.array([1, -1]))
    check(run, normal(2), np.array([3, 1]), np.array([1, -1]))
    check(lambda lib, x, y, t: run(lib, x.T, y[:, ::2], t), normal(4, 3), normal(3, 8), signs(3, 4))


@each_reduction
@pytest.mark.parametrize("margin", [1.0, 0, 0.5, -1])
def test_hinge_embedding(reduction, margin):
    run = call("hinge_embedding_loss", margin=margin, reduction=reduction)
    for shape in SHAPES:
        check(run, normal(*shape), np.asarray(signs(*shape).astype(int)))
        check(
            fixed("hinge_embedding_loss", margin=margin, reduction=reduction),
            normal(*shape),
            signs(*shape),
        )
    for x, t in (((3, 4), (4,)), ((4,), (3, 4)), ((3, 1), (1, 4)), ((), (3,))):
        check(run, normal(*x), np.asarray(signs(*t).astype(int)))
    grid = RNG.integers(-2, 3, 40) / 2.0
    check(run, grid, RNG.integers(-2, 3, 40))
    check(run, np.array([NAN, INF, -INF, NAN]), np.array([1, -1, -1, -1]))
    check(lambda lib, x, t: run(lib, x.T, t[:, ::2]), normal(4, 3), signs(3, 8).astype(int))


def test_a_hinge_embedding_target_has_no_gradient():
    check(call("hinge_embedding_loss"), normal(4), signs(4))
    check(fixed("hinge_embedding_loss", 0), normal(4), signs(4), gradients=False)


@each_reduction
def test_soft_margin(reduction):
    run = fixed("soft_margin_loss", reduction=reduction)
    for shape in SHAPES:
        check(run, np.asarray(3 * normal(*shape)), signs(*shape))
    check(run, normal(3, 4), signs(4))
    check(run, normal(3, 4), signs(3, 1))
    check(run, np.array([NAN, INF, -INF, 0, 80]), np.array([1.0, 1, -1, 1, -1]), gradients=False)
    check(call("soft_margin_loss", reduction=reduction), normal(3), np.array([1, -1, 0]))
    check(lambda lib, x, t: run(lib, x.T, t[:, ::2]), normal(4, 3), signs(3, 8))
    check(
        lambda lib, x, t: run(lib, x, t.double()), normal(3), normal(3), rtol=1e-5, gradients=False
    )
    check(lambda lib, x, t: run(lib, x.double(), t), normal(3), normal(3), rtol=1e-5)


def test_sign_misuse():
    x = normal(3, 4)
    for name in ("soft_margin_loss", "hinge_embedding_loss"):
        misuse(call(name), x, normal(3))
        misuse(call(name, reduction="foo"), x, x)
    misuse(call("soft_margin_loss"), normal(4), x)
    misuse(call("soft_margin_loss"), np.ones((3, 4), int), x)
    misuse(call("hinge_embedding_loss", margin="a"), x, x)
    misuse(call("hinge_embedding_loss"), np.ones(3, bool), np.ones(3))
    misuse(call("margin_ranking_loss", margin="a"), x, x, x)
    misuse(call("margin_ranking_loss", reduction="foo"), x, x, x)
    misuse(call("margin_ranking_loss"), x, x, normal(4))
    misuse(call("margin_ranking_loss"), x, normal(4), x)
    misuse(call("margin_ranking_loss"), x, x, normal(2, 4))


# Several labels


@each_reduction
def test_multilabel_margin(reduction):
    run = call("multilabel_margin_loss", reduction=reduction)
    for rows, classes in ((1, 1), (6, 5), (3, 7), (20, 4)):
        x, t = 2 * normal(rows, classes), RNG.integers(-1, classes, (rows, classes))
        check(run, x, t)
        check(run, x[0], t[0])
    check(run, RNG.integers(-2, 3, (30, 5)) / 2.0, RNG.integers(-1, 5, (30, 5)))
    check(run, normal(2, 3), np.full((2, 3), -1))
    check(run, normal(), np.array(0))
    check(run, normal(), np.array([-1]))
    check(run, normal(1), np.array(0))
    rows = np.array([[NAN, 0, 2], [1, NAN, 2], [INF, 0, -INF], [0, INF, 1]])
    check(run, rows, np.array([[0, -1, 2], [0, 2, -1], [1, -1, -1], [0, -1, -1]]))
    t = RNG.integers(-1, 4, (3, 8))
    check(lambda lib, x, t: run(lib, x.T, t[:, ::2]), normal(4, 3), t)


def test_multilabel_margin_misuse():
    x, t = normal(3, 4), np.zeros((3, 4), int)
    for shape in ((4,), (3,), (3, 3), (3, 4, 1), ()):
        misuse(call("multilabel_margin_loss"), x, np.zeros(shape, int))
    for bad in (4, -2):
        misuse(call("multilabel_margin_loss"), x, t + bad)
    misuse(call("multilabel_margin_loss"), x[0], t)
    misuse(call("multilabel_margin_loss"), x, t.astype(float))
    misuse(call("multilabel_margin_loss"), np.ones((3, 4), int), t)
    misuse(call("multilabel_margin_loss"), normal(2, 3, 4), np.zeros((2, 3, 4), int))
    misuse(call("multilabel_margin_loss"), normal(3, 0), np.zeros((3, 0), int))
    misuse(call("multilabel_margin_loss"), normal(0), np.zeros(0, int))
    misuse(call("multilabel_margin_loss", reduction="foo"), x, t)


@each_reduction
def test_multilabel_soft_margin(reduction):
    run = call("multilabel_soft_margin_loss", reduction=reduction)

    def weighted(lib, x, t, w):
        return lib.nn.functional.multilabel_soft_margin_loss(x, t, w, reduction=reduction)

    for shape in SHAPES[1:]:
        check(run, np.asarray(3 * normal(*shape)), positive(*shape))
        check(weighted, np.asarray(3 * normal(*shape)), positive(*shape), positive(*shape))
    for w in ((4,), (3, 1), (1, 4), (), (2, 3, 4)):
        check(weighted, normal(3, 4), positive(3, 4), positive(*w))
    check(run, normal(3, 4), positive(4))
    check(run, normal(4), positive(3, 4))
    check(run, normal(3, 4), RNG.integers(0, 2, (3, 4)))
    check(run, np.array([[NAN, 100.0, -100.0], [0, 1e4, -1e4]]), RNG.integers(0, 2, (2, 3)))
    check(lambda lib, x, t: run(lib, x.T, t[:, ::2]), normal(4, 3), positive(3, 8))
    check(lambda lib, x, t: run(lib, x, t.double()), normal(3), positive(3), rtol=1e-5)


def test_multilabel_soft_margin_misuse():
    x = normal(3, 4)
    misuse(call("multilabel_soft_margin_loss"), normal(), normal())
    misuse(call("multilabel_soft_margin_loss"), x, normal(3))
    misuse(call("multilabel_soft_margin_loss"), np.ones((3, 4), int), x)
    misuse(call("multilabel_soft_margin_loss", reduction="foo"), x, x)
    misuse(call("multilabel_soft_margin_loss"), x, x, normal(3))


# Embeddings


@each_reduction
@pytest.mark.parametrize("margin", [0, 0.5, -0.5])
def test_cosine_embedding(reduction, margin):
    run = call("cosine_embedding_loss", margin=margin, reduction=reduction)
    for n, d in ((4, 3), (1, 5), (0, 3), (3, 1), (3, 0)):
        check(run, normal(n, d), normal(n, d), signs(n).astype(int))
    check(run, normal(5), normal(5), np.array(1))
    check(run, normal(5), normal(5), np.array(-1))
    check(run, normal(1, 3), normal(4, 3), signs(4).astype(int))
    check(run, normal(1, 3), normal(1, 3), signs(4).astype(int))
    check(run, normal(4, 3), normal(4, 1), signs(1).astype(int))
    check(
        fixed("cosine_embedding_loss", 2, reduction=reduction), normal(4, 3), normal(4, 3), signs(4)
    )
    check(run, normal(4, 3), normal(4, 3), np.array([0, 2, 1, -1]))
    zeros = np.array([[0.0, 0], [0, 0], [1, 0], [1, 0]])
    check(run, zeros, np.array([[0.0, 0], [1, 1], [0, 2], [0, 0]]), np.array([1, -1, -1, 1]))
    check(run, np.array([[1, 2], [3, 1]]), np.array([[1, 0], [0, 1]]), np.array([1, -1]))
    check(run, np.array([[1, 2], [3, 1]]), normal(2, 2), np.array([1, -1]))
    check(
        lambda lib, x, y, t: run(lib, x.T, y[:, ::2], t),
        normal(4, 3),
        normal(3, 8),
        np.array([1, -1, 1]),
    )


@each_reduction
@pytest.mark.parametrize("p", [1.0, 2, 3.5, INF])
@pytest.mark.parametrize("swap", [False, True])
def test_triplets(reduction, p, swap):
    run = call("triplet_margin_loss", p=p, swap=swap, reduction=reduction)
    for shape in ((4, 3), (5,), (2, 3, 4), (0, 3)):
        check(run, normal(*shape), normal(*shape), normal(*shape))
    check(run, normal(1, 3), normal(4, 3), normal(4, 1))
    check(call("triplet_margin_loss", margin=0.1, eps=0.01, reduction=reduction), *normal(3, 4, 5))
    check(
        lambda lib, x, y, z: run(lib, x.T, y[:, ::2], z), normal(4, 3), normal(3, 8), normal(3, 4)
    )
    whole = RNG.integers(0, 2, (3, 20, 2)).astype(float)
    check(call("triplet_margin_loss", p=p, swap=swap, eps=0, reduction=reduction), *whole)


@each_reduction
@pytest.mark.parametrize("swap", [False, True])
def test_triplets_with_a_distance(reduction, swap):
    def manhattan(x, y):
        return (x - y).abs().sum(-1)

    name = "triplet_margin_with_distance_loss"
    for distance in (None, manhattan):
        run = call(name, distance_function=distance, swap=swap, reduction=reduction, margin=0.5)
        for shape in ((4, 3), (5,), (2, 3, 4)):
            check(run, normal(*shape), normal(*shape), normal(*shape))
        check(run, *RNG.integers(0, 2, (3, 20, 2)).astype(float))


def test_embedding_misuse():
    x, t = normal(3, 4), np.array([1, -1, 1])
    name = "cosine_embedding_loss"
    misuse(call(name), x, x, np.ones((3, 1), int))
    misuse(call(name), x, x, np.array(1))
    misuse(call(name), x[0], x[0], t)
    misuse(call(name), x, x[0], t)
    misuse(call(name), x, normal(3, 3), t)
    misuse(call(name), x, x, np.array([1, 1]))
    misuse(call(name, margin="a"), x, x, t)
    misuse(call(name, reduction="foo"), x, x, t)
    for name in ("triplet_margin_loss", "triplet_margin_with_distance_loss"):
        for margin in (0, -1.0):
            misuse(call(name, margin=margin), x, x, x)
        misuse(call(name, reduction="foo"), x, x, x)
        misuse(call(name), x, x[0], x)
        misuse(call(name), x, x, x[0])
        misuse(call(name), x, x, normal(3, 5))
    misuse(call("triplet_margin_loss", p="a"), x, x, x)


# Sequences


def logs(*shape):
    x = normal(*shape)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


@each_reduction
@pytest.mark.parametrize("blank", [0, 3])
@pytest.mark.parametrize("zero_infinity", [False, True])
def test_ctc(reduction, blank, zero_infinity):
    run = call("ctc_loss", blank=blank, reduction=reduction, zero_infinity=zero_infinity)
    t, n, c = 9, 5, 6
    labels = np.array([k for k in range(c) if k != blank])
    for lengths, sizes in (
        ([9, 9, 9, 9, 9], [3, 3, 3, 3, 3]),
        ([9, 7, 5, 4, 1], [4, 3, 2, 0, 1]),
        ([3, 0, 9, 0, 1], [4, 0, 4, 1, 0]),
    ):
        x, target = logs(t, n, c), labels[RNG.integers(0, 5, (n, 4))]
        repeated = labels[RNG.integers(0, 2, (n, 4))]
        row = labels[RNG.integers(0, 5, sum(sizes))]
        for y in (target, repeated, row, target.astype(np.int32)):
            check(lambda lib, x, y, a=lengths, b=sizes: run(lib, x, y, a, b), x, y)
            check(run, x, y, np.array(lengths), np.array(sizes))
            check(lambda lib, x, y, a=lengths, b=sizes: run(lib, x, y, tuple(a), tuple(b)), x, y)
        check(lambda lib, x, y, a=lengths, b=sizes: run(lib, x, y, a, b), normal(t, n, c), target)
        turned = x.transpose(1, 2, 0).copy()
        check(
            lambda lib, x, y, a=lengths, b=sizes: run(lib, lib.permute(x, (2, 0, 1)), y, a, b),
            turned, target,
        )  # fmt: skip
    check(run, logs(6, 4), labels[:3], np.array(6), np.array(3))
    check(run, logs(6, 1, 4), labels[None, :2], np.array([5]), np.array([2]))


@pytest.mark.parametrize("zero_infinity", [False, True])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_ctc_of_infinity(reduction, zero_infinity):
    rng = np.random.default_rng(0)
    run = call("ctc_loss", reduction=reduction, zero_infinity=zero_infinity)
    for trial in range(12):
        x = rng.standard_normal((5, 3, 4))
        x -= np.log(np.exp(x).sum(2, keepdims=True))
        x[rng.random(x.shape) < 0.15] = -np.inf
        if trial % 3 == 0:
            x[:, :, trial % 4] = -np.inf
        labels = rng.integers(1, 4, (3, 3))
        check(run, x, labels, rng.integers(1, 6, 3), rng.integers(0, 4, 3))


def test_ctc_of_nan():
    x = np.log(np.full((3, 1, 2), 0.5))
    x[1, 0, 1] = np.nan
    check(call("ctc_loss"), x, np.array([[1]]), np.array([3]), np.array([1]))


def test_ctc_misuse():
    x, y = logs(5, 2, 4), np.array([[1, 2], [2, 3]])

    def run(lib, x, y, a=(5, 5), b=(2, 2), **options):
        return lib.nn.functional.ctc_loss(x, y, a, b, **options)

    for blank in (-1, 4):
        misuse(lambda lib, x, y, k=blank: run(lib, x, y, blank=k), x, y)
    for a, b in (
        ((6, 5), (2, 2)), ((5, -1), (2, 2)), ((5, 5), (3, 2)), ((5, 5), (-1, 2)),
        ((5,), (2, 2)), ((5, 5), (2,)), ((5, 5, 5), (2, 2, 2)),
    ):  # fmt: skip
        misuse(lambda lib, x, y, a=a, b=b: run(lib, x, y, a, b), x, y)
    misuse(run, x, np.array([1, 2, 3]))
    misuse(run, x, np.array([[1, 2]]))
    misuse(run, x, np.array([[[1, 2]], [[2, 3]]]))
    misuse(run, x[:, :, 0].reshape(-1), y)
    misuse(lambda lib, x, y: run(lib, x, y, reduction="foo"), x, y)
    misuse(lambda lib, x, y, a: run(lib, x, y, a), x, y, np.array([5.0, 5.0]))
    misuse(run, np.ones((5, 2, 4), int), y)
    misuse(run, np.zeros((0, 2, 4)), y)


# Classes


@each_reduction
def test_linear_cross_entropy(reduction):
    def run(lib, x, w, t, b=None, cw=None, **options):
        return lib.nn.functional.linear_cross_entropy(
            x, w, t, linear_bias=b, weight=None if cw is None else cw.detach(),
            reduction=reduction, **options,
        )  # fmt: skip

    t = np.array([0, 2, 4])
    check(run, normal(3, 2), normal(5, 2), t)
    check(run, normal(3, 2), normal(5, 2), t, normal(5), positive(5))
    check(run, normal(2), normal(5, 2), np.array(1))
    check(run, normal(3, 2), normal(5, 4, 2), RNG.integers(0, 5, (3, 4)), normal(5, 4))
    check(run, normal(3, 2), normal(5, 2), positive(3, 5), normal(5))
    check(
        lambda lib, *a: run(lib, *a, ignore_index=2, label_smoothing=0.1),
        normal(3, 2),
        normal(5, 2),
        t,
    )
    misuse(run, normal(3, 2), normal(5, 3), t)
    misuse(run, normal(3, 2), normal(5), t)
    misuse(run, normal(3, 2, 1), normal(5, 1), t)
    misuse(run, normal(2), normal(5, 3, 2), t)
    misuse(run, normal(3, 2), normal(5, 2), t, normal(4))
    misuse(lambda lib, *a: run(lib, *a, ignore_index=2), normal(3, 2), normal(5, 2), positive(3, 5))


def test_the_two_flags_of_old():
    x, t = normal(3, 4), positive(3, 4)
    labels = RNG.integers(-1, 4, (3, 4))
    for average, reduce in itertools.product((None, True, False), repeat=2):
        options = {"size_average": average, "reduce": reduce}
        for name in (
            "smooth_l1_loss", "kl_div", "poisson_nll_loss", "hinge_embedding_loss",
            "multilabel_soft_margin_loss",
        ):  # fmt: skip
            check(fixed(name, **options), x, t)
        check(fixed("soft_margin_loss", **options), x, t)
        check(call("multilabel_margin_loss", **options), x, labels)
        check(call("margin_ranking_loss", **options), x, t, x)
        check(call("cosine_embedding_loss", **options), x, t, np.array([1, -1, 1]))
        check(call("triplet_margin_loss", **options), x, t, normal(3, 4))
    check(lambda lib, x, t: lib.nn.functional.smooth_l1_loss(x, t, False), x, t)
    check(lambda lib, x, t: lib.nn.functional.hinge_embedding_loss(x, t.detach(), 0.5, False), x, t)


def test_sizes_that_differ_warn_as_in_pytorch():
    for lib in (torch, cr):
        for name in ("smooth_l1_loss", "huber_loss", "mse_loss", "l1_loss"):
            with pytest.warns(UserWarning, match="target"):
                getattr(lib.nn.functional, name)(lib.ones(2, 3), lib.ones(3))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for name in ("soft_margin_loss", "hinge_embedding_loss", "poisson_nll_loss"):
                getattr(lib.nn.functional, name)(lib.ones(2, 3), lib.ones(3))


# Layers

X, Y, Z = normal(3, 4), normal(3, 4), normal(3, 4)
ONES = np.array([1, -1, 1])
SIGNS = np.array([[1, -1, 1, 1], [-1, -1, 1, 1], [1, 1, 1, -1]])
SHARES = np.asarray(RNG.uniform(0.1, 0.9, (3, 4)))
PLACES = np.array([[1, 3, -1, 0], [2, -1, 0, 0], [0, 1, 2, 3]])
WEIGHT = positive(4)
LAYERS = [
    (lambda nn, w: nn.SmoothL1Loss(), X, Y),
    (lambda nn, w: nn.SmoothL1Loss(None, None, "sum", 0.5), X, Y),
    (lambda nn, w: nn.SmoothL1Loss(False, beta=0.5), X, Y),
    (lambda nn, w: nn.HuberLoss("none", 0.5), X, Y),
    (lambda nn, w: nn.KLDivLoss(), X, SHARES),
    (lambda nn, w: nn.KLDivLoss(reduction="batchmean", log_target=True), X, Y),
    (lambda nn, w: nn.KLDivLoss(None, None, "none", True), X, Y),
    (lambda nn, w: nn.PoissonNLLLoss(), X, SHARES),
    (lambda nn, w: nn.PoissonNLLLoss(False, True, None, 1e-3, None, "sum"), SHARES, SHARES),
    (lambda nn, w: nn.GaussianNLLLoss(full=True, eps=0.5, reduction="sum"), X, Y, SHARES),
    (lambda nn, w: nn.SoftMarginLoss(None, False), X, SIGNS),
    (lambda nn, w: nn.HingeEmbeddingLoss(0.5, None, None, "none"), X, SIGNS),
    (lambda nn, w: nn.MarginRankingLoss(0.5), X, Y, SIGNS),
    (lambda nn, w: nn.MultiLabelMarginLoss(reduction="sum"), X, PLACES),
    (lambda nn, w: nn.MultiLabelSoftMarginLoss(w), X, SHARES),
    (lambda nn, w: nn.CosineEmbeddingLoss(0.2, reduction="none"), X, Y, ONES),
    (lambda nn, w: nn.TripletMarginLoss(0.5, 1.0, 1e-3, True, None, None, "sum"), X, Y, Z),
    (lambda nn, w: nn.TripletMarginWithDistanceLoss(margin=2.0, swap=True), X, Y, Z),
    (
        lambda nn, w: nn.TripletMarginWithDistanceLoss(
            distance_function=lambda x, y: (x - y).abs().sum(1)
        ),
        X, Y, Z,
    ),
]  # fmt: skip


@pytest.mark.parametrize("i", range(len(LAYERS)))
def test_layers(i):
    make, *inputs = LAYERS[i]

    def run(lib, *tensors):
        return make(lib.nn, lib.tensor(WEIGHT.astype(str(tensors[0].dtype).split(".")[-1])))(
            *tensors
        )

    check(run, *inputs)


def test_layers_of_sequences_and_classes():
    x, lengths = logs(6, 3, 4), (np.array([6, 6, 5]), np.array([2, 1, 2]))
    labels = np.array([[1, 2], [3, 3], [2, 2]])
    for options in ({}, {"reduction": "sum"}, {"blank": 0, "zero_infinity": True}):
        check(lambda lib, *a, o=options: lib.nn.CTCLoss(**o)(*a), x, labels, *lengths)
    with pytest.warns(FutureWarning):
        check(
            lambda lib, x, t: lib.nn.NLLLoss2d()(x, t), normal(2, 3, 4, 5),
            RNG.integers(0, 3, (2, 4, 5)),
        )  # fmt: skip
    w, b = normal(3, 5), normal(3)

    def final(lib, x, t):
        layer = lib.nn.LinearCrossEntropyLoss(5, 3, bias=True, label_smoothing=0.1).double()
        layer.load_state_dict({"linear.weight": lib.tensor(w), "linear.bias": lib.tensor(b)})
        loss = layer(x, t)
        loss.backward(retain_graph=True)
        return loss, layer.linear.weight.grad, layer.linear.bias.grad

    check(final, normal(4, 5), np.array([0, 2, 1, 1]), dtypes=["float64"], gradients=False)


def adaptive(lib, state, **options):
    layer = lib.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 10, 15], 2.0, True, **options).double()
    layer.load_state_dict({k: lib.tensor(v) for k, v in state.items()})
    return layer


def test_adaptive_log_softmax():
    like = torch.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 10, 15], 2.0, True)
    state = {k: normal(*v.shape) for k, v in like.state_dict().items()}
    own = cr.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 10, 15], 2.0, True)
    assert {k: v.shape for k, v in own.state_dict().items()} == {
        k: v.shape for k, v in state.items()
    }
    for t in ([0, 3, 4, 19, 12, 9, 10, 15], [1, 2], [19, 18], [7]):
        check(
            lambda lib, x, t: tuple(adaptive(lib, state)(x, t)),
            normal(len(t), 8), np.array(t), dtypes=["float64"],
        )  # fmt: skip
    check(
        lambda lib, x, t: tuple(adaptive(lib, state)(x, t)),
        normal(8),
        np.array(12),
        dtypes=["float64"],
    )
    check(lambda lib, x: adaptive(lib, state).log_prob(x), normal(5, 8), dtypes=["float64"])
    check(
        lambda lib, x: adaptive(lib, state).predict(x), normal(50, 8), dtypes=["float64"],
        gradients=False,
    )  # fmt: skip
    x = normal(3, 8)
    for t in (np.array([0, 20, 1]), np.array([0, -1, 1]), np.array([1, 2]), np.zeros((3, 1), int)):
        misuse(lambda lib, x, t: lib.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4])(x, t), x, t)
    misuse(lambda lib, x, t: lib.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4])(x, t), x, np.array(1))
    for cutoffs in ([], [0, 4], [4, 4], [5, 4], [20], [4.5]):
        misuse(lambda lib, c=cutoffs: lib.nn.AdaptiveLogSoftmaxWithLoss(8, 20, c))


def test_layer_misuse():
    misuse(lambda lib: lib.nn.HuberLoss(delta="a"))
    misuse(lambda lib: lib.nn.TripletMarginLoss(margin=0))
    misuse(lambda lib: lib.nn.TripletMarginWithDistanceLoss(margin=-1))
    misuse(lambda lib: lib.nn.LinearCrossEntropyLoss(5, 3, weight=lib.ones(2)))
    misuse(lambda lib: lib.nn.LinearCrossEntropyLoss(5, 3, label_smoothing=1.5))
    misuse(lambda lib, x: lib.nn.SmoothL1Loss(reduction="avg")(x, x), X)
    misuse(lambda lib, x: lib.nn.KLDivLoss(reduction="avg")(x, x), X)
    misuse(lambda lib, x: lib.nn.SmoothL1Loss(None, None, "mean", 1.0, 2)(x, x), X)
