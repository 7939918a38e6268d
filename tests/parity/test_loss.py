"""Losses against PyTorch: the whole argument space, gradients of every input, misuse."""

import itertools
import warnings

import numpy as np
import pytest
import torch

import chainrule as cr
from tests.parity.harness import check, misuse

RNG = np.random.default_rng(0)
NAN, INF = np.nan, np.inf
REDUCTIONS = ["mean", "sum", "none"]
each_reduction = pytest.mark.parametrize("reduction", REDUCTIONS)


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def normal(*shape):
    return np.asarray(RNG.standard_normal(shape))


def probabilities(*shape):
    return np.asarray(RNG.uniform(0.02, 0.98, shape))


def wrong_kind(fn, *inputs):
    """PyTorch's NotImplementedError for a dtype is a RuntimeError; our TypeError is one too."""
    for lib, kind in ((torch, RuntimeError), (cr, cr.KindError)):
        tensors = [lib.tensor(x.astype(np.float32) if x.dtype.kind == "f" else x) for x in inputs]
        with pytest.raises(kind) as caught:
            fn(lib, *tensors)
        assert isinstance(caught.value, RuntimeError)


# Squared and absolute error

DISTANCES = ["mse_loss", "l1_loss"]
each_distance = pytest.mark.parametrize("name", DISTANCES)


@each_distance
@each_reduction
def test_distance_shapes(name, reduction):
    def call(lib, x, t):
        return getattr(lib.nn.functional, name)(x, t, reduction=reduction)

    for shape in ((), (5,), (3, 4), (2, 3, 4, 5), (0,), (0, 3)):
        check(call, normal(*shape), normal(*shape))
    for x, t in (((3, 4), (4,)), ((4,), (3, 4)), ((3, 1), (1, 4)), ((2, 1, 4), (3, 1)), ((), (3,))):
        check(call, normal(*x), normal(*t))
    check(call, np.array([1.0, 2, 0]), np.array([1.0, 0, 0]))
    check(call, np.array([NAN, INF, -INF, 0, 1]), np.array([1.0, INF, 1, 0, 1]))
    check(lambda lib, x: getattr(lib.nn.functional, name)(x, x, reduction=reduction), normal(3))
    check(lambda lib, x, t: call(lib, x.T, t[:, ::2]), normal(4, 3), normal(3, 8))


@each_distance
@each_reduction
def test_distance_weights(name, reduction):
    def call(lib, x, t, w):
        return getattr(lib.nn.functional, name)(x, t, reduction=reduction, weight=w)

    check(call, normal(3, 4), normal(3, 4), probabilities(3, 4))
    check(call, normal(3, 4), normal(4), probabilities(3, 4))
    check(call, normal(4), normal(3, 4), probabilities(4))
    check(call, normal(), normal(), probabilities())
    check(call, normal(0, 2), normal(0, 2), probabilities(0, 2))
    check(call, normal(3), normal(3), np.zeros(3))
    check(call, normal(3), normal(3), np.array([1, 2, 0]))
    check(call, np.array([1, 2]), np.array([3, 5]), np.array([1, 2]))
    check(call, np.array([1, 2]), np.array([3, 5]), probabilities(2))


@each_distance
@each_reduction
def test_distance_dtypes(name, reduction):
    def call(lib, x, t):
        return getattr(lib.nn.functional, name)(x, t, reduction=reduction)

    check(call, normal(3), np.array([1, 2, 3]))
    check(call, np.array([1, 2, 3]), normal(3))
    check(lambda lib, x, t: call(lib, x, t.double()), normal(3), normal(3), rtol=1e-6)
    check(lambda lib, x, t: call(lib, x.double(), t), normal(2, 3), normal(2, 3), rtol=1e-6)
    check(
        lambda lib, x, t, w: getattr(lib.nn.functional, name)(
            x, t, reduction=reduction, weight=w.double()
        ),
        normal(3), normal(3), probabilities(3), rtol=1e-6,
    )  # fmt: skip
    if name == "mse_loss" or reduction == "mean":
        wrong_kind(call, np.array([1, 2]), np.array([1, 3]))
    else:
        for kind in ("int64", "int32", "uint8"):
            check(call, np.array([1, 2], kind), np.array([1, 0], kind))
    wrong_kind(call, np.array([True]), np.array([False]))


@each_distance
def test_distance_misuse(name):
    def call(lib, x, t, **options):
        return getattr(lib.nn.functional, name)(x, t, **options)

    misuse(call, normal(3, 4), normal(3))
    for reduction in ("foo", None, "Mean"):
        misuse(lambda lib, x: call(lib, x, x, reduction=reduction), normal(3))  # noqa: B023
        misuse(lambda lib, x: call(lib, x, x, reduction=reduction, weight=x), normal(3))  # noqa: B023
    misuse(lambda lib, x, w: call(lib, x, x, weight=w), normal(3, 4), normal(4))
    misuse(lambda lib, x, w: call(lib, x, x, weight=w), normal(3, 4), normal(1, 4))


def test_the_two_flags_of_old():
    flags = list(itertools.product((None, True, False), repeat=2))
    x, t, labels = normal(3, 4), probabilities(3, 4), np.array([0, 1, 3])
    for average, reduce in flags:
        options = {"size_average": average, "reduce": reduce}
        for name in ("mse_loss", "l1_loss", "binary_cross_entropy_with_logits", "cross_entropy"):
            check(
                lambda lib, x, t, n=name, o=options: getattr(lib.nn.functional, n)(x, t, **o), x, t
            )
        for name in ("nll_loss", "cross_entropy", "multi_margin_loss"):
            check(
                lambda lib, x, t, n=name, o=options: getattr(lib.nn.functional, n)(x, t, **o),
                x, labels,
            )  # fmt: skip
        check(lambda lib, x, t, o=options: lib.nn.functional.binary_cross_entropy(x, t, **o), t, t)
    check(lambda lib, x, t: lib.nn.functional.mse_loss(x, t, False), x, t)
    check(lambda lib, x, t: lib.nn.functional.mse_loss(x, t, reduction="elementwise_mean"), x, t)


# Binary cross-entropy


@each_reduction
def test_bce_with_logits(reduction):
    def call(lib, x, t, w=None, v=None):
        return lib.nn.functional.binary_cross_entropy_with_logits(
            x, t, None if w is None else w.detach(), reduction=reduction,
            pos_weight=None if v is None else v.detach(),
        )  # fmt: skip

    for shape in ((), (5,), (3, 4), (2, 3, 4), (0,), (0, 4)):
        check(call, normal(*shape), probabilities(*shape))
    x, t = 3 * normal(3, 4), probabilities(3, 4)
    for shape in ((), (1,), (4,), (3, 1), (1, 4), (3, 4)):
        check(call, x, t, probabilities(*shape))
        check(call, x, t, None, np.asarray(3 * probabilities(*shape)))
        check(call, x, t, probabilities(4), np.asarray(3 * probabilities(*shape)))
    check(call, x, t, None, np.array([2, 3, 4, 5]))
    check(call, x, t, np.array([2, 3, 4, 5]))
    check(call, x, np.round(t), None, 3 * probabilities(4))
    check(call, x, 3 * t - 1)


def test_bce_with_logits_far_out():
    x = np.array([NAN, INF, -INF, 100.0, -100.0, 0.0, 1000.0, -1000.0])
    for target, weight in itertools.product((0.0, 1.0, 0.5), (None, 2.0)):
        check(
            lambda lib, x, t, w=weight: lib.nn.functional.binary_cross_entropy_with_logits(
                x, t.detach(), reduction="none", pos_weight=None if w is None else lib.tensor(w)
            ),
            x, np.full(8, target), atol=1e-12,
        )  # fmt: skip


@each_reduction
def test_bce_with_logits_of_two_dtypes(reduction):
    def call(convert_x, convert_t):
        return lambda lib, x, t: lib.nn.functional.binary_cross_entropy_with_logits(
            getattr(x, convert_x)(), getattr(t, convert_t)(), reduction=reduction
        )

    for pair in itertools.product(("float", "double"), repeat=2):
        check(call(*pair), normal(3), probabilities(3), rtol=1e-5, atol=1e-6)


@each_reduction
def test_bce(reduction):
    def call(lib, x, t, w=None):
        w = None if w is None else w.detach()
        return lib.nn.functional.binary_cross_entropy(x, t, w, reduction=reduction)

    for shape in ((), (5,), (3, 4), (2, 3, 4), (0,), (0, 4)):
        check(call, probabilities(*shape), probabilities(*shape))
    for shape in ((), (1,), (4,), (3, 1), (1, 4), (3, 4)):
        check(call, probabilities(3, 4), probabilities(3, 4), probabilities(*shape))
    check(call, probabilities(3, 4), probabilities(3, 4), np.array([1, 2, 3, 4]))
    check(
        lambda lib, x, t, w: call(lib, x, t, w.double()),
        probabilities(3, 4), probabilities(3, 4), probabilities(4), rtol=1e-5,
    )  # fmt: skip


def test_bce_at_the_edges():
    x = np.array([0, 0, 1, 1, 0.5, 1e-30, 1e-13, 1 - 1e-7])
    for t in (np.zeros(8), np.ones(8), np.full(8, 0.3)):
        check(
            lambda lib, x, t: lib.nn.functional.binary_cross_entropy(x, t, reduction="none"),
            x, t, rtol=1e-4,
        )  # fmt: skip


@pytest.mark.parametrize("name", ["binary_cross_entropy", "binary_cross_entropy_with_logits"])
def test_bce_misuse(name):
    def call(lib, x, t, *rest, **options):
        return getattr(lib.nn.functional, name)(x, t, *rest, **options)

    x, t = probabilities(3, 4), probabilities(3, 4)
    for shape in ((4,), (3, 1), (1, 3, 4), (3,), ()):
        misuse(call, x, probabilities(*shape))
    for shape in ((2, 3, 4), (1, 3, 4), (3,), (2, 1, 1)):
        misuse(call, x, t, probabilities(*shape))
        if "logits" in name:
            misuse(lambda lib, x, t, v: call(lib, x, t, pos_weight=v), x, t, probabilities(*shape))
    misuse(call, x, np.ones((3, 4), int))
    misuse(call, x, np.ones((3, 4), bool))
    wrong_kind(call, np.ones((3, 4), int), t)
    wrong_kind(call, np.ones((3, 4), int), np.ones((3, 4), int))
    misuse(lambda lib, x, t: call(lib, x, t, reduction="foo"), x, t)
    if name == "binary_cross_entropy":
        misuse(lambda lib, x, t: call(lib, x, t.double()), x, t)
        for bad in (1.5, -0.5, NAN):
            misuse(call, np.array([0.5, bad]), np.array([1.0, 0]))
        for bad in (2.0, -0.5):
            misuse(call, np.array([0.5, 0.5]), np.array([1.0, bad]))


# Classes

LABELLED = ["cross_entropy", "nll_loss"]
each_labelled = pytest.mark.parametrize("name", LABELLED)


def labels_for(x, ignored=None):
    shape = x.shape[:1] + x.shape[2:] if x.ndim > 1 else ()
    t = np.asarray(RNG.integers(0, x.shape[1 if x.ndim > 1 else 0], shape))
    if ignored is not None and t.size:
        t = np.where(RNG.random(shape) < 0.4, ignored, t)
    return t


@each_labelled
@each_reduction
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignored", [None, -1, 2, 99])
def test_labels(name, reduction, weighted, ignored):
    def call(lib, x, t, w=None):
        options = {} if ignored is None else {"ignore_index": ignored}
        w = None if w is None else w.detach()
        return getattr(lib.nn.functional, name)(x, t, w, reduction=reduction, **options)

    for shape in (
        (5,),
        (6, 5),
        (1, 5),
        (4, 5, 3),
        (2, 5, 3, 2),
        (2, 5, 1, 2, 2),
        (1, 5, 1, 1, 1, 2),
    ):
        x = 3 * normal(*shape)
        weights = (RNG.uniform(0.1, 3, 5),) if weighted else ()
        check(call, x, labels_for(x), *weights)
        check(call, x, labels_for(x, ignored), *weights)
    # PyTorch's own backward fails for one image with a label of shape (1,).
    check(call, normal(5), np.array([2]), *weights, gradients=False)
    for shape in ((0, 5), (0, 5, 2), (2, 5, 0)):
        x = normal(*shape)
        check(call, x, np.zeros(shape[:1] + shape[2:], int), *weights)
    check(call, normal(3, 5), np.array([0, 1, 4], np.uint8), *weights)


@each_reduction
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.1, 0.5, 1.0, 1])
def test_label_smoothing(reduction, weighted, smoothing):
    def call(lib, x, t, w=None):
        w = None if w is None else w.detach()
        return lib.nn.functional.cross_entropy(
            x, t, w, ignore_index=1, reduction=reduction, label_smoothing=smoothing
        )

    for shape in ((5,), (6, 5), (4, 5, 3), (2, 5, 3, 2), (0, 5)):
        x = 3 * normal(*shape)
        weights = (RNG.uniform(0.1, 3, 5),) if weighted else ()
        check(call, x, labels_for(x, 1), *weights)
    check(call, normal(3, 5), np.array([1, 1, 1]), *weights)


@each_reduction
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_class_probabilities(reduction, weighted, smoothing):
    """Here PyTorch gives the targets and the weights gradients too."""

    def call(lib, x, t, w=None):
        return lib.nn.functional.cross_entropy(
            x, t, w, reduction=reduction, label_smoothing=smoothing
        )

    for shape in ((5,), (6, 5), (4, 5, 3), (2, 5, 3, 2), (0, 5), (0, 5, 2), (2, 5, 0)):
        weights = (RNG.uniform(0.1, 3, 5),) if weighted else ()
        check(call, 3 * normal(*shape), probabilities(*shape), *weights)
        check(call, 3 * normal(*shape), normal(*shape), *weights)
    if not weighted and not smoothing:
        check(call, normal(2, 0), normal(2, 0))
        check(call, normal(0, 0), normal(0, 0))
    check(lambda lib, x, t: call(lib, x, t.double()), normal(3, 4), probabilities(3, 4), rtol=1e-5)
    check(lambda lib, x, t: call(lib, x.double(), t), normal(3, 4), probabilities(3, 4), rtol=1e-5)


@each_labelled
@each_reduction
def test_nothing_counts(name, reduction):
    def call(lib, x, t, *w):
        w = [v.detach() for v in w]
        return getattr(lib.nn.functional, name)(x, t, *w, reduction=reduction)

    for weights in ((), (RNG.uniform(0.1, 3, 4),), (np.zeros(4),)):
        check(call, normal(3, 4), np.full(3, -100), *weights)
        check(call, normal(3, 4), np.array([1, -100, 2]), *weights)
        check(call, normal(4), np.array(-100), *weights)
    check(call, normal(3, 4), np.array([0, 1, 0]), np.array([0, 0, 1.0, 1.0]))
    check(call, np.zeros((0, 0)), np.zeros(0, int))


@each_reduction
def test_infinite_scores(reduction):
    rows = np.array([[INF, 1], [-INF, 1], [-INF, 1], [-INF, -INF], [NAN, 1], [1e4, -1e4]])
    for name, options in (
        ("cross_entropy", {}),
        ("cross_entropy", {"label_smoothing": 0.1}),
        ("nll_loss", {}),
    ):

        def call(lib, x, t, n=name, o=options):
            return getattr(lib.nn.functional, n)(x, t, reduction=reduction, **o)

        check(call, rows, np.array([0, 0, 1, 0, 0, 1]))
        check(call, rows, np.array([-100, 0, 1, -100, -100, 1]))
        for row, label in itertools.product(rows, (0, 1, -100)):
            check(call, row[None], np.array([label]))
    one_hot = np.tile([0.0, 1.0], (6, 1))
    check(
        lambda lib, x, t: lib.nn.functional.cross_entropy(x, t, reduction=reduction), rows, one_hot
    )


@pytest.mark.parametrize("name", [*LABELLED, "multi_margin_loss"])
def test_memory_order_is_no_matter(name):
    def call(lib, x, t):
        return getattr(lib.nn.functional, name)(x, t)

    t = RNG.integers(0, 5, 7)
    gradients = name != "nll_loss"  # PyTorch's backward wants contiguous scores there
    check(lambda lib, x, t: call(lib, x.T, t), normal(5, 7), t, gradients=gradients)
    check(lambda lib, x, t: call(lib, x[::2, 1:], t), normal(14, 6), t)
    check(lambda lib, x, t: call(lib, lib.flip(x, (0, 1)), t), normal(7, 5), t)
    if name in LABELLED:
        image, t = normal(2, 3, 4, 5), RNG.integers(0, 5, (2, 3, 4))
        check(
            lambda lib, x, t: call(lib, lib.permute(x, (0, 3, 1, 2)), t),
            image, t, gradients=gradients,
        )  # fmt: skip


@pytest.mark.parametrize("name", [*LABELLED, "multi_margin_loss"])
def test_class_misuse(name):
    def call(lib, x, t, *w, **options):
        return getattr(lib.nn.functional, name)(x, t, *w, **options)

    x, t = normal(3, 4), np.array([0, 1, 3])
    for bad in (4, -1, 100, -(2**62)):
        if name in LABELLED:
            misuse(call, x, np.array([0, bad, 1]))
            misuse(call, x[0], np.array(bad))
        else:  # here PyTorch raises a RuntimeError; ours is the IndexError of the others
            with pytest.raises(RuntimeError):
                call(torch, torch.tensor(x), torch.tensor([0, bad, 1]))
            with pytest.raises(cr.LabelError):
                call(cr, cr.tensor(x), cr.tensor([0, bad, 1]))
    wrong_kind(call, np.ones((3, 4), int), t)
    for kind in ("bool", "float32"):
        misuse(call, x, t.astype(kind))
    for shape in ((2,), (4,), (3, 1), (1, 3), ()):
        misuse(call, x, np.zeros(shape, int))
    misuse(call, x[0], np.zeros(2, int))
    for shape in ((3,), (5,), (1, 4), ()):
        misuse(lambda lib, x, t, w: call(lib, x, t, weight=w), x, t, np.ones(shape))
    misuse(lambda lib, x, t: call(lib, x, t, weight=lib.ones(4, dtype=lib.float64)), x, t)
    for reduction in ("foo", None):
        misuse(lambda lib, x, t, r=reduction: call(lib, x, t, reduction=r), x, t)
    if name in LABELLED:
        misuse(call, normal(2, 4, 5), np.zeros(2, int))
        misuse(call, normal(2, 4, 5), np.zeros((2, 6), int))
        misuse(call, normal(2, 4, 5), np.zeros((3, 5), int))
        misuse(call, normal(2, 4, 5, 3), np.zeros((2, 5), int))
        misuse(call, np.array(1.0), np.array(0))
        misuse(call, np.zeros((2, 0)), np.zeros(2, int))
    if name == "cross_entropy":
        misuse(call, x, np.zeros((3, 4), int))
        misuse(call, x, normal(3, 5))
        misuse(lambda lib, x, t: call(lib, x, t, ignore_index=2), x, probabilities(3, 4))
        misuse(lambda lib, x, t: call(lib, x, t, label_smoothing=1.5), x, t)
        misuse(lambda lib, x, t: call(lib, x, t, label_smoothing="a"), x, t)
        misuse(call, x, probabilities(3, 4), np.ones(3))
        wrong_kind(call, np.ones((3, 4), int), probabilities(3, 4))


# Multiclass SVM


@each_reduction
@pytest.mark.parametrize("p", [1, 2, True])
@pytest.mark.parametrize("margin", [1.0, 0.5, -1.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_multi_margin(reduction, p, margin, weighted):
    def call(lib, x, t, w=None):
        w = None if w is None else w.detach()
        return lib.nn.functional.multi_margin_loss(x, t, p, margin, w, reduction=reduction)

    def weights(n):
        return (RNG.uniform(0.1, 3, n),) if weighted else ()

    check(call, normal(6, 5), RNG.integers(0, 5, 6), *weights(5))
    check(call, normal(1, 5), np.array(3), *weights(5))
    check(call, normal(5), np.array(3), *weights(5))
    check(call, normal(5), np.array([3]), *weights(5))
    check(call, normal(4, 1), np.zeros(4, int), *weights(1))
    check(call, normal(), np.array(0), *weights(1))
    check(call, RNG.integers(-2, 3, (20, 4)).astype(float), RNG.integers(0, 4, 20), *weights(4))
    rows = np.array([[NAN, 0, 2], [1, NAN, 2], [INF, 0, -INF], [0, INF, 1]])
    check(call, rows, np.array([0, 0, 0, 0]), *weights(3))


def test_multi_margin_misuse():
    def call(lib, x, t, *rest, **options):
        return lib.nn.functional.multi_margin_loss(x, t, *rest, **options)

    x, t = normal(3, 4), np.array([0, 1, 3])
    for p in (3, 0, 1.5, "a"):
        misuse(lambda lib, x, t, p=p: call(lib, x, t, p), x, t)
    misuse(lambda lib, x, t: call(lib, x, t, 1, "a"), x, t)
    misuse(call, normal(2, 4, 5), np.zeros((2, 5), int))
    misuse(call, np.zeros((2, 0)), np.zeros(2, int))


@pytest.mark.parametrize("kind", ["int64", "int32", "bool"])
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss", "multi_margin_loss"])
def test_scores_that_are_not_floats_are_not_implemented(name, kind):
    x, t = np.ones((3, 4), kind), np.array([0, 1, 3])
    misuse(lambda lib, x, t: getattr(lib.nn.functional, name)(x, t), x, t)


@pytest.mark.parametrize("name", ["mse_loss", "binary_cross_entropy_with_logits"])
def test_differences_that_are_not_floats_are_not_implemented(name):
    x = np.array([1, 0, 1])
    misuse(lambda lib, x: getattr(lib.nn.functional, name)(x, x), x)


def test_multi_margin_labels_and_weights():
    def call(lib, x, t, w=None):
        return lib.nn.functional.multi_margin_loss(x, t, weight=w)

    for label in (-1, -100, 4):
        misuse(call, normal(3, 4), np.array([0, label, 3]))
    misuse(call, normal(5, 4), normal(5), np.array(1.0))  # the weight is looked at first


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_float_targets_of_another_shape(name):
    for shape in ((4, 3), (3, 5), (3,), (2,), (3, 4, 1)):
        misuse(
            lambda lib, x, t: getattr(lib.nn.functional, name)(x, t), normal(3, 4), normal(*shape)
        )
