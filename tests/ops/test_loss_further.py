"""Losses beyond the usual ones: values by SciPy, loops or enumeration, edges, kinks, errors."""

import itertools
import math
import warnings

import numpy as np
import pytest
from scipy import special, stats

import chainrule as cr
from chainrule.ops.loss_ctc import CTCLoss
from chainrule.ops.loss_multilabel import MultilabelMarginLoss, _hinges

F = cr.nn.functional
RNG = np.random.default_rng(0)
NAN, INF = np.nan, np.inf
each_reduction = pytest.mark.parametrize("reduction", ["mean", "sum", "none"])


def value(tensor):
    return tensor.detach().numpy()


def tensors(*arrays):
    return [cr.tensor(a) for a in arrays]


def gradients(function, *arrays):
    """Give the gradients of the sum of a function's value by each float array."""
    leaves = [cr.tensor(a, requires_grad=np.asarray(a).dtype.kind == "f") for a in arrays]
    function(*leaves).sum().backward()
    return [None if leaf.grad is None else leaf.grad.numpy() for leaf in leaves]


def agree(ours, errors, reduction, divisor=None):
    """Compare a loss with its errors, reduced."""
    e = np.asarray(errors)
    divisor = e.size if divisor is None else divisor
    expected = {"none": e, "sum": e.sum(), "mean": e.sum() / divisor}[reduction]
    np.testing.assert_allclose(value(ours), expected, rtol=1e-10, atol=1e-11)


# By SciPy


@each_reduction
def test_bent_differences(reduction):
    x, t = 3 * RNG.standard_normal((2, 4, 5))
    for width in (0.5, 1.0, 2.0):
        huber = special.huber(width, x - t)
        agree(F.huber_loss(*tensors(x, t), reduction, width), huber, reduction)
        smooth = F.smooth_l1_loss(*tensors(x, t), reduction=reduction, beta=width)
        agree(smooth, huber / width, reduction)
    agree(F.smooth_l1_loss(*tensors(x, t), reduction=reduction, beta=0), abs(x - t), reduction)


@each_reduction
def test_kl_div(reduction):
    p, q = special.softmax(RNG.standard_normal((2, 4, 5)), axis=-1)
    p[1, 2] = 0
    errors = special.rel_entr(p, q)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        agree(F.kl_div(*tensors(np.log(q), p), reduction=reduction), errors, reduction)
        positive = p + 0.1
        divergence = F.kl_div(
            *tensors(np.log(q), np.log(positive)), reduction=reduction, log_target=True
        )
    agree(divergence, positive * (np.log(positive) - np.log(q)), reduction)
    batch = F.kl_div(*tensors(np.log(q), p), reduction="batchmean").item()
    assert math.isclose(batch, errors.sum() / 4)


@each_reduction
def test_gaussian(reduction):
    x, t = RNG.standard_normal((2, 4, 5))
    v = RNG.uniform(0.5, 2, (4, 1))
    errors = -stats.norm.logpdf(t, x, np.sqrt(v))
    agree(F.gaussian_nll_loss(*tensors(x, t, v), True, reduction=reduction), errors, reduction)
    bare = errors - 0.5 * math.log(2 * math.pi)
    agree(F.gaussian_nll_loss(*tensors(x, t, v[:, 0]), reduction=reduction), bare, reduction)
    errors = -stats.norm.logpdf(t, x, 0.5) - 0.5 * math.log(2 * math.pi)
    agree(F.gaussian_nll_loss(*tensors(x, t), 0.25, reduction=reduction), errors, reduction)
    agree(
        F.gaussian_nll_loss(*tensors(x, t), 0.0, eps=0.25, reduction=reduction), errors, reduction
    )


@each_reduction
def test_poisson(reduction):
    rate, t = RNG.uniform(0.5, 4, (4, 5)), RNG.integers(0, 9, (4, 5)).astype(float)
    exact = -stats.poisson.logpmf(t, rate)
    bare = exact - special.gammaln(t + 1)
    options = {"reduction": reduction, "eps": 0.0}
    agree(F.poisson_nll_loss(*tensors(rate, t), False, **options), bare, reduction)
    agree(F.poisson_nll_loss(*tensors(np.log(rate), t), **options), bare, reduction)
    large = np.maximum(t, 2)
    stirling = value(F.poisson_nll_loss(*tensors(rate, large), False, True, reduction="none"))
    np.testing.assert_allclose(stirling, -stats.poisson.logpmf(large, rate), atol=0.05)


# By loops


@each_reduction
def test_signs(reduction):
    x, y = RNG.standard_normal((2, 4, 5))
    t = np.where(RNG.random((4, 5)) < 0.5, 1, -1)
    ranking = [
        [max(0, 0.3 - int(s) * (a - b)) for a, b, s in zip(*r, strict=True)]
        for r in zip(x, y, t, strict=True)
    ]
    agree(F.margin_ranking_loss(*tensors(x, y, t), 0.3, reduction=reduction), ranking, reduction)
    hinge = [
        [max(0, 1 - int(s) * a) for a, s in zip(*r, strict=True)] for r in zip(x, t, strict=True)
    ]
    agree(F.margin_loss(*tensors(x, t), reduction=reduction), hinge, reduction)
    close = [
        [a if s == 1 else max(0, 0.5 - a) for a, s in zip(*r, strict=True)]
        for r in zip(x, t, strict=True)
    ]
    agree(F.hinge_embedding_loss(*tensors(x, t), 0.5, reduction=reduction), close, reduction)
    soft = [
        [math.log(1 + math.exp(-int(s) * a)) for a, s in zip(*r, strict=True)]
        for r in zip(x, t, strict=True)
    ]
    agree(F.soft_margin_loss(*tensors(x, t), reduction=reduction), soft, reduction)


@each_reduction
@pytest.mark.parametrize("p", [1, 2])
def test_hinge(reduction, p):
    x, t, w = RNG.standard_normal((6, 4)), RNG.integers(0, 4, 6), RNG.uniform(0.5, 2, 4)
    e = [
        w[t[n]] * sum(max(0, 1 - (1 if k == t[n] else -1) * x[n, k]) ** p for k in range(4))
        for n in range(6)
    ]
    agree(
        F.hinge_loss(*tensors(x, t), p, cr.tensor(w), reduction=reduction), e, reduction, w[t].sum()
    )
    image = x.reshape(2, 3, 4).transpose(0, 2, 1)  # (N, C, d)
    loss = F.hinge_loss(*tensors(image, t.reshape(2, 3)), p, cr.tensor(w), reduction="none")
    np.testing.assert_allclose(value(loss), np.reshape(e, (2, 3)))
    counted = F.hinge_loss(*tensors(x, t), p, ignore_index=int(t[0])).item()
    rest = t != t[0]
    assert math.isclose(counted, F.hinge_loss(*tensors(x[rest], t[rest]), p).item())


@each_reduction
def test_labels_of_probabilities(reduction):
    p, t = special.softmax(RNG.standard_normal((6, 4)), axis=1), RNG.integers(0, 4, 6)
    w = RNG.uniform(0.5, 2, 4)
    e = [-w[t[n]] * math.log(p[n, t[n]]) for n in range(6)]
    loss = F.multinomial_logistic_loss(*tensors(p, t, w), reduction=reduction)
    agree(loss, e, reduction, w[t].sum())
    logs = F.nll_loss(*tensors(np.log(p), t, w), reduction=reduction)
    np.testing.assert_allclose(value(loss), value(logs))
    impossible = F.multinomial_logistic_loss(cr.tensor([[0.0, 1.0]]), cr.tensor([0]))
    assert math.isclose(impossible.item(), 20 * math.log(10), rel_tol=1e-6)
    gx = gradients(F.multinomial_logistic_loss, np.array([[0.0, 1.0]]), np.array([0]))[0]
    np.testing.assert_allclose(gx, [[-1e20, 0]])


@each_reduction
def test_infogain(reduction):
    x, t, h = RNG.standard_normal((6, 4)), RNG.integers(0, 4, 6), RNG.random((4, 4))
    logs = special.log_softmax(x, axis=1)
    e = [-sum(h[t[n], k] * logs[n, k] for k in range(4)) for n in range(6)]
    agree(F.infogain_loss(*tensors(x, t, h), reduction=reduction), e, reduction)
    same = F.infogain_loss(*tensors(x, t, np.eye(4)), 2, reduction)
    other = F.cross_entropy(*tensors(x, t), ignore_index=2, reduction=reduction)
    np.testing.assert_allclose(value(same), value(other))
    gx, _, gh = gradients(
        lambda *a: F.infogain_loss(*a, ignore_index=1), np.array([[NAN, 1], [0.0, 0.0]]),
        np.array([1, 0]), np.ones((2, 2)),
    )  # fmt: skip
    np.testing.assert_allclose(gx[1], [0, 0], atol=1e-15)
    np.testing.assert_allclose(gh, [[math.log(2)] * 2, [0, 0]])


@each_reduction
def test_several_labels(reduction):
    x, t = RNG.standard_normal((6, 5)), RNG.integers(-1, 5, (6, 5))
    e = []
    for n in range(6):
        labels = list(itertools.takewhile(lambda k: k >= 0, t[n].tolist()))
        others = set(range(5)) - set(labels)
        e.append(sum(max(0, 1 - x[n, i] + x[n, j]) for i in labels for j in others) / 5)
    agree(F.multilabel_margin_loss(*tensors(x, t), reduction=reduction), e, reduction)
    y, w = RNG.random((6, 5)), RNG.random(5)
    s = special.expit(x)
    e = -(w * (y * np.log(s) + (1 - y) * np.log(1 - s))).mean(axis=1)
    agree(F.multilabel_soft_margin_loss(*tensors(x, y, w), reduction=reduction), e, reduction)


def test_several_labels_in_parts(monkeypatch):
    """The sums do not depend on how many labels are taken at once."""
    x, t = RNG.standard_normal((40, 7)), RNG.integers(-1, 7, (40, 7))
    rows, places = np.nonzero(np.logical_and.accumulate(t >= 0, axis=1))
    whole = _hinges(np, x, rows, t[rows, places])
    monkeypatch.setattr("chainrule.ops.loss_multilabel._PART", 20)
    for a, b in zip(whole, _hinges(np, x, rows, t[rows, places]), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


@each_reduction
def test_embeddings(reduction):
    a, b, c = RNG.standard_normal((3, 6, 4))
    t = np.array([1, -1, 1, -1, -1, 1])
    cosines = [a[n] @ b[n] / math.sqrt(a[n] @ a[n] * (b[n] @ b[n])) for n in range(6)]
    e = [1 - c if s == 1 else max(0, c - 0.1) for c, s in zip(cosines, t, strict=True)]
    agree(F.cosine_embedding_loss(*tensors(a, b, t), 0.1, reduction=reduction), e, reduction)
    d = np.linalg.norm(a - b, axis=1)
    e = [0.5 * (r * r if s == 1 else max(0, 3 - r) ** 2) for r, s in zip(d, t, strict=True)]
    agree(F.contrastive_loss(*tensors(a, b, t == 1), 3.0, reduction=reduction), e, reduction)
    e = [0.5 * (r * r if s == 1 else max(0, 9 - r * r)) for r, s in zip(d, t, strict=True)]
    agree(F.contrastive_loss(*tensors(a, b, t == 1), 9.0, True, reduction), e, reduction)
    d = abs(a - b).sum(axis=1)
    e = [r if s == 1 else max(0, 5 - r) for r, s in zip(d, t, strict=True)]
    agree(F.l1_hinge_embedding_loss(*tensors(a, b, t), 5, reduction), e, reduction)
    near, far = np.linalg.norm(a - b, axis=1), np.linalg.norm(a - c, axis=1)
    e = np.maximum(0, 1 + near - far)
    agree(F.triplet_margin_loss(*tensors(a, b, c), eps=0, reduction=reduction), e, reduction)
    far = np.minimum(far, np.linalg.norm(b - c, axis=1))
    e = np.maximum(0, 1 + near - far)
    triplet = F.triplet_margin_loss(*tensors(a, b, c), eps=0, swap=True, reduction=reduction)
    agree(triplet, e, reduction)


@each_reduction
def test_euclidean(reduction):
    x, t = RNG.standard_normal((2, 4, 3, 2))
    e = [0.5 * ((x[n] - t[n]) ** 2).sum() for n in range(4)]
    agree(F.euclidean_loss(*tensors(x, t), reduction), e, reduction)
    gx, gt = gradients(lambda *a: F.euclidean_loss(*a, "sum"), x, t)
    np.testing.assert_allclose(gx, x - t)
    np.testing.assert_allclose(gt, t - x)
    agree(F.l1_cost(cr.tensor(x), reduction), abs(x), reduction)
    assert gradients(F.l1_cost, np.array([2.0, 0.0, -3.0]))[0].tolist() == [1, 0, -1]


def test_caffes_name_of_binary_cross_entropy():
    assert F.sigmoid_cross_entropy is F.binary_cross_entropy_with_logits
    assert cr.sigmoid_cross_entropy is F.sigmoid_cross_entropy


# Sequences: all paths, one by one


def paths(logs, labels, blank):
    """Give minus the logarithm of the sum over all paths that mean the labels."""
    total = 0.0
    for path in itertools.product(range(logs.shape[1]), repeat=len(logs)):
        merged = [k for k, _ in itertools.groupby(path)]
        if [k for k in merged if k != blank] == list(labels):
            total += math.exp(sum(logs[t, k] for t, k in enumerate(path)))
    return -math.log(total) if total else INF


@pytest.mark.parametrize("blank", [0, 2])
def test_ctc_is_the_sum_over_all_paths(blank):
    logs = special.log_softmax(RNG.standard_normal((5, 6, 3)), axis=2)
    a, b = [k for k in range(3) if k != blank]
    labels = [[a], [a, a], [b, a, b], [], [a, b, a], [a, a, a]]
    steps = [5, 4, 5, 3, 2, 5]
    e = [paths(logs[:s, n], y, blank) for n, (s, y) in enumerate(zip(steps, labels, strict=True))]
    assert [math.isinf(v) for v in e] == [False] * 4 + [True, False]
    padded = np.array([[*y, *[99] * (3 - len(y))] for y in labels])
    row = np.array([k for y in labels for k in y])
    sizes = [len(y) for y in labels]
    for targets in (padded, row):
        arguments = (cr.tensor(logs), cr.tensor(targets), steps, sizes, blank)
        np.testing.assert_allclose(value(F.ctc_loss(*arguments, "none")), e, rtol=1e-12)
        finite = [0 if math.isinf(v) else v for v in e]
        np.testing.assert_allclose(value(F.ctc_loss(*arguments, "none", True)), finite)
        mean = np.mean([v / max(s, 1) for v, s in zip(finite, sizes, strict=True)])
        assert math.isclose(F.ctc_loss(*arguments, "mean", True).item(), mean)
        assert math.isclose(F.ctc_loss(*arguments, "sum", True).item(), sum(finite))
    one = F.ctc_loss(cr.tensor(logs[:, 1]), cr.tensor([a, a]), [4], [2], blank, "none")
    assert one.shape == ()
    assert math.isclose(one.item(), e[1])


def test_ctc_gradient_through_log_softmax_is_the_plain_one():
    """What its gradient leaves out, a log_softmax before it takes away."""
    x, labels = RNG.standard_normal((6, 2, 4)), np.array([[1, 1, 2], [3, 1, 0]])
    steps, sizes = np.array([6, 4]), np.array([3, 2])

    def plain(a):
        return cr.engine.tensor.apply(CTCLoss(), cr.log_softmax(a, 2), labels, steps, sizes)

    def ours(a):
        return F.ctc_loss(cr.log_softmax(a, 2), cr.tensor(labels), steps, sizes, reduction="none")

    np.testing.assert_allclose(gradients(plain, x)[0], gradients(ours, x)[0], atol=1e-14)
    gx = gradients(
        lambda a: F.ctc_loss(a, cr.tensor(labels), steps, sizes), special.log_softmax(x, 2)
    )[0]
    np.testing.assert_allclose(gx.sum(axis=2), 0, atol=1e-14)
    assert not gx[4:, 1].any()


# Kinks and extremes


def test_kinks():
    x, zero = np.array([0.0, 2.0, -2.0]), np.zeros(3)
    one = lambda f, *a: gradients(lambda *v: f(*v, reduction="sum"), *a)[0].tolist()  # noqa: E731
    assert one(F.huber_loss, x, zero) == [0, 1, -1]
    assert one(F.smooth_l1_loss, x, zero) == [0, 1, -1]
    assert one(F.margin_ranking_loss, x, zero, np.ones(3)) == [-1, 0, -1]  # at 0: the line's
    assert one(F.hinge_embedding_loss, np.array([1.0, 2.0, 0.5]), -np.ones(3)) == [-1, 0, -1]
    assert one(F.hinge_loss, np.array([[1.0, -1.0, 0.0]]), np.array([0])) == [[0, 0, 1]]
    assert one(F.multilabel_margin_loss, np.array([1.0, 0.0]), np.array([0, -1])) == [0, 0]
    same = np.ones((1, 3))
    assert one(F.contrastive_loss, same, same, np.array([0])) == [[0, 0, 0]]


def test_soft_margin_does_not_overflow():
    x, t = np.array([1e4, -1e4, 1e4]), np.array([-1.0, 1.0, 1.0])
    y = F.soft_margin_loss(*tensors(x, t), reduction="none")
    assert y.tolist() == [1e4, 1e4, 0]
    gx = gradients(lambda a: F.soft_margin_loss(a, cr.tensor(t), reduction="sum"), x)[0]
    assert gx.tolist() == [1, -1, 0]


def test_poisson_gradients_by_counts_are_finite():
    """PyTorch's are NaN for a count of 0, by the logarithm that it then drops."""
    gx, gt = gradients(
        lambda *a: F.poisson_nll_loss(*a, full=True), np.zeros(2), np.array([0.0, 1])
    )
    assert np.isfinite(gx).all()
    assert np.isfinite(gt).all()


def test_means_of_nothing():
    none = np.zeros((0, 3))
    for name, *rest in (
        ("smooth_l1_loss", none), ("huber_loss", none), ("poisson_nll_loss", none),
        ("gaussian_nll_loss", none, none), ("soft_margin_loss", none), ("margin_loss", none),
        ("hinge_embedding_loss", none), ("margin_ranking_loss", none, none),
        ("multilabel_margin_loss", none.astype(int)), ("multilabel_soft_margin_loss", none),
        ("cosine_embedding_loss", none, none[:, 0]), ("contrastive_loss", none, none[:, 0]),
        ("triplet_margin_loss", none, none), ("hinge_loss", none[:, 0].astype(int)),
        ("euclidean_loss", none), ("infogain_loss", none[:, 0].astype(int), np.eye(3)),
        ("multinomial_logistic_loss", none[:, 0].astype(int)),
    ):  # fmt: skip
        y = getattr(F, name)(*tensors(none, *rest))
        assert math.isnan(y.item()), name
        assert gradients(lambda *a, n=name: getattr(F, n)(*a), none, *rest)[0].shape == (0, 3)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtypes_are_kept(dtype):
    x = RNG.random((4, 3)).astype(dtype)
    labels = np.array([0, 1, 2, 0])
    signs = np.array([1, -1, 1, -1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for name, *rest in (
            ("smooth_l1_loss", x), ("huber_loss", x), ("kl_div", x), ("poisson_nll_loss", x),
            ("gaussian_nll_loss", x, x), ("soft_margin_loss", x), ("hinge_embedding_loss", x),
            ("margin_ranking_loss", x, x), ("multilabel_margin_loss", np.zeros((4, 3), int)),
            ("multilabel_soft_margin_loss", x), ("cosine_embedding_loss", x, signs),
            ("contrastive_loss", x, signs), ("hinge_loss", labels), ("margin_loss", x),
            ("infogain_loss", labels, x[:3]), ("multinomial_logistic_loss", labels),
            ("euclidean_loss", x), ("l1_cost",), ("l1_hinge_embedding_loss", x, signs),
        ):  # fmt: skip
            for reduction in ("mean", "sum", "none"):
                leaf = cr.tensor(x, requires_grad=True)
                y = getattr(F, name)(leaf, *tensors(*rest), reduction=reduction)
                assert y.dtype == dtype, name
                y.sum().backward()
                assert leaf.grad.dtype == dtype, name


def test_meta_tensors_have_shapes():
    x, labels = cr.zeros(4, 3, device="meta"), cr.zeros(4, dtype=cr.int64, device="meta")
    for name, *rest in (
        ("huber_loss", x), ("gaussian_nll_loss", x, x), ("hinge_embedding_loss", x),
        ("multilabel_margin_loss", cr.zeros(4, 3, dtype=cr.int64, device="meta")),
        ("multilabel_soft_margin_loss", x), ("cosine_embedding_loss", x, labels),
        ("triplet_margin_loss", x, x), ("hinge_loss", labels), ("euclidean_loss", x),
    ):  # fmt: skip
        y = getattr(F, name)(x, *rest)
        assert y.is_meta, name
        assert y.shape == (), name
    logs = cr.zeros(5, 4, 3, device="meta")
    assert F.ctc_loss(logs, labels, [5] * 4, [1] * 4, reduction="none").shape == (4,)


ONES, THREE = cr.ones(3, 4), cr.tensor([0, 1, 2])
LOGS = cr.zeros(5, 2, 4)


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: F.smooth_l1_loss(ONES, ONES, beta=-1), ValueError,
         "smooth_l1_loss: expected beta of at least 0; got beta -1"),
        (lambda: F.smooth_l1_loss(THREE, THREE), TypeError, "expected a floating-point input"),
        (lambda: F.smooth_l1_loss(ONES, ONES, beta="a"), TypeError, "smooth_l1_loss beta"),
        (lambda: F.smooth_l1_loss(ONES, cr.ones(3)), ValueError, "where axis -1 has 4 and 3"),
        (lambda: F.huber_loss(ONES, ONES, delta=0), ValueError,
         "huber_loss: expected a positive delta; got delta 0"),
        (lambda: F.huber_loss(THREE, THREE), TypeError, "expected a floating-point input"),
        (lambda: F.huber_loss(ONES, ONES, weight=cr.ones(4)), ValueError,
         "huber_loss: expected a weight of the input's shape (3, 4)"),
        (lambda: F.huber_loss(ONES, ONES, "avg"), ValueError, "got reduction 'avg'"),
        (lambda: F.euclidean_loss(ONES, cr.ones(3)), ValueError,
         "euclidean_loss: expected a target of shape (3, 4); got input float32 (3, 4), target"),
        (lambda: F.l1_cost(cr.tensor([True])), TypeError, "expected numbers, not booleans"),
        (lambda: F.kl_div(ONES, THREE, reduction="sum"), TypeError,
         "kl_div: expected a floating-point input and target; got input float32 (3, 4), target"),
        (lambda: F.poisson_nll_loss(ONES, ONES, eps=None), TypeError, "poisson_nll_loss eps"),
        (lambda: F.gaussian_nll_loss(ONES, ONES, -ONES), ValueError,
         "gaussian_nll_loss: expected variances of at least 0; got lowest -1.0"),
        (lambda: F.gaussian_nll_loss(ONES, ONES, cr.ones(4)), ValueError,
         "a var of the input's shape (3, 4), without its last size, or with one size 1"),
        (lambda: F.margin_ranking_loss(ONES, ONES, THREE), ValueError,
         "margin_ranking_loss: expected three tensors of as many axes"),
        (lambda: F.margin_loss(ONES, cr.ones(3)), ValueError, "where axis -1 has 4 and 3"),
        (lambda: F.hinge_embedding_loss(ONES, cr.ones(3)), ValueError,
         "hinge_embedding_loss: expected sizes that are equal or 1, where axis -1 has 4 and 3; "
         "got input (3, 4), target (3,)"),
        (lambda: F.soft_margin_loss(cr.ones(4), ONES), ValueError,
         "soft_margin_loss: expected a target that broadcasts to the input's shape (4,)"),
        (lambda: F.hinge_loss(ONES, THREE, 3), ValueError, "hinge_loss: expected p of 1 or 2"),
        (lambda: F.hinge_loss(ONES, cr.tensor([0, 1, 4])), IndexError, "0..3; got label 4"),
        (lambda: F.multilabel_margin_loss(ONES, cr.tensor([[0, 1, -2, 0]] * 3)), IndexError,
         "multilabel_margin_loss: expected labels in 0..3, or -1, which ends an image's; got "
         "label -2, position (0, 2)"),
        (lambda: F.multilabel_margin_loss(ONES, ONES), TypeError, "expected integer labels"),
        (lambda: F.multilabel_margin_loss(ONES, THREE), ValueError,
         "expected a target of the input's shape (3, 4)"),
        (lambda: F.multilabel_margin_loss(cr.ones(3, 0), THREE), ValueError, "at least one class"),
        (lambda: F.multilabel_soft_margin_loss(cr.tensor(1.0), cr.tensor(1.0)), IndexError,
         "multilabel_soft_margin_loss: expected scores with an axis of classes"),
        (lambda: F.cosine_embedding_loss(ONES, ONES, ONES), ValueError,
         "cosine_embedding_loss: expected inputs (N, D) with a target (N,), or inputs (D,) with"),
        (lambda: F.cosine_embedding_loss(ONES, ONES, cr.ones(2)), ValueError,
         "got distance (3,), target (2,)"),
        (lambda: F.contrastive_loss(ONES, cr.ones(4), THREE), ValueError,
         "contrastive_loss: expected inputs (N, D) with"),
        (lambda: F.triplet_margin_loss(ONES, ONES, ONES, 0), ValueError,
         "triplet_margin_loss: expected a positive margin; got margin 0"),
        (lambda: F.triplet_margin_loss(ONES, ONES, cr.ones(4)), ValueError,
         "triplet_margin_loss: expected an anchor, a positive and a negative of as many axes"),
        (lambda: F.infogain_loss(ONES, THREE, cr.ones(3, 3)), ValueError,
         "infogain_loss: expected an information gain for each two of 4 classes; got input "
         "float32 (3, 4), infogain float32 (3, 3)"),
        (lambda: F.infogain_loss(ONES, THREE, cr.ones(4, 4, dtype=cr.float64)), TypeError,
         "an information gain of the input's dtype"),
        (lambda: F.multinomial_logistic_loss(ONES, cr.tensor([0, 1, 9])), IndexError, "label 9"),
        (lambda: F.linear_cross_entropy(ONES, cr.ones(5, 3), THREE), ValueError,
         "linear_cross_entropy: expected an input (N, F) or (F,) and a linear_weight"),
        (lambda: F.linear_cross_entropy(ONES, cr.ones(5, 4), THREE, linear_bias=ONES), ValueError,
         "linear_cross_entropy: expected a linear_bias (5,)"),
        (lambda: F.ctc_loss(LOGS, cr.tensor([[1], [2]]), [5, 6], [1, 1]), ValueError,
         "ctc_loss: expected input_lengths in 0..5; got lowest 5, highest 6"),
        (lambda: F.ctc_loss(LOGS, cr.tensor([[1], [2]]), [5, 5], [1, 2]), ValueError,
         "ctc_loss: expected target_lengths of at most 1"),
        (lambda: F.ctc_loss(LOGS, cr.tensor([[1], [2]]), [5, 5], [1, -1]), ValueError,
         "ctc_loss: expected target_lengths of at least 0; got lowest -1"),
        (lambda: F.ctc_loss(LOGS, cr.tensor([1, 2, 3]), [5, 5], [1, 1]), ValueError,
         "ctc_loss: expected as many targets as target_lengths say, 2"),
        (lambda: F.ctc_loss(LOGS, cr.tensor([[1], [4]]), [5, 5], [1, 1]), IndexError,
         "ctc_loss: expected labels in 0..3; got label 4, position (1, 0)"),
        (lambda: F.ctc_loss(LOGS, cr.tensor([[1], [2]]), [5], [1, 1]), ValueError,
         "ctc_loss: expected 2 input_lengths, one a sequence"),
        (lambda: F.ctc_loss(LOGS, cr.tensor([[1], [2]]), [5, 5], [1, 1], 4), ValueError,
         "ctc_loss: expected a blank in 0..3"),
        (lambda: F.ctc_loss(LOGS, cr.tensor([[1]]), [5, 5], [1, 1]), ValueError,
         "ctc_loss: expected targets (2, L), or all of them in a row"),
        (lambda: F.ctc_loss(cr.ones(3), THREE, [1], [1]), ValueError,
         "ctc_loss: expected log-probabilities (T, N, C) or (T, C)"),
        (lambda: F.ctc_loss(LOGS, THREE, cr.ones(2), [1, 2]), TypeError,
         "ctc_loss: expected input_lengths that are integers"),
    ],
)  # fmt: skip
def test_errors(call, kind, text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(kind) as caught:
            call()
    assert text in str(caught.value)
    assert isinstance(caught.value, cr.ChainruleError)


def test_warnings_name_the_caller():
    for function in (F.smooth_l1_loss, F.huber_loss):
        with pytest.warns(UserWarning, match=r"input \(3, 4\) and target \(4,\) differ") as seen:
            function(ONES, cr.ones(4))
        assert seen[0].filename == __file__
    with pytest.warns(UserWarning, match="'batchmean' divides by the batch size") as seen:
        F.kl_div(ONES, ONES)
    assert seen[0].filename == __file__


def test_bare_arrays():
    (loss,), saved = MultilabelMarginLoss().forward(
        np, np.array([[0.1, 0.2, 0.4, 0.8]]), np.array([[3, 0, -1, 1]])
    )
    assert math.isclose(loss, 0.85)
    gx, _ = MultilabelMarginLoss().backward(np, saved, np.ones(()), (True, False))
    np.testing.assert_allclose(gx, [[-0.5, 0.5, 0.5, -0.5]])
