from __future__ import annotations

import json

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import AnomalyError, DataError, KindError, LabelError, ShapeError
from chainrule.training.metrics import (
    accuracy,
    balanced_accuracy,
    confusion_matrix,
    predictions,
    topk_accuracy,
)
from chainrule.training.metrics_calibration import (
    brier_score,
    calibration,
    negative_log_likelihood,
    probabilities,
)
from chainrule.training.metrics_meter import TASKS, Meter, RunningMeter
from chainrule.training.metrics_multilabel import (
    auroc,
    average_precision,
    exact_match,
    label_accuracy,
    label_table,
)
from chainrule.training.metrics_regression import (
    mean_absolute_error,
    r2_score,
    root_mean_squared_error,
)

PARTS = (slice(0, 1), slice(1, 20), slice(20, 47))


def test_classes_batch_by_batch() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.standard_normal((47, 8)).astype(np.float32), rng.integers(0, 8, 47)
    meter, running = Meter(), RunningMeter()
    for part, loss in zip(PARTS, (1.0, 2.0, 3.0), strict=True):
        meter.add(cr.tensor(scores[part], requires_grad=True), labels[part], loss)
        running.add(scores[part], labels[part], loss)
    found, p = meter.result(), probabilities(scores)
    confusion = confusion_matrix(predictions(scores), labels, 8)
    assert found.loss == running.loss == (1 * 1 + 2 * 19 + 3 * 27) / 47
    np.testing.assert_array_equal(found.confusion, confusion)
    assert found.accuracy == running.metrics["accuracy"] == accuracy(predictions(scores), labels)
    expected = {
        "accuracy": found.accuracy,
        "top5": topk_accuracy(scores, labels, 5),
        "balanced_accuracy": balanced_accuracy(confusion),
        "ece": calibration(p, labels).error,
        "nll": negative_log_likelihood(p, labels),
        "brier": brier_score(p, labels),
    }
    assert list(found.metrics) == list(expected)
    assert found.metrics == pytest.approx(expected, rel=1e-12)
    assert found.top5 == found.metrics["top5"]
    assert running.row() == {"train_loss": found.loss, "train_accuracy": found.accuracy}


def test_classes_of_probabilities() -> None:
    meter, of_scores = Meter(from_probabilities=True), Meter()
    scores = np.random.default_rng(1).standard_normal((9, 3))
    meter.add(probabilities(scores), [0, 1, 2] * 3, 1.0)
    of_scores.add(scores, [0, 1, 2] * 3, 1.0)
    assert meter.result().metrics == pytest.approx(of_scores.result().metrics)
    assert meter.result().top5 is None  # three classes have no five best
    with pytest.raises(DataError, match="softmax"):
        meter.add(scores, [0, 1, 2] * 3, 1.0)


def test_an_empty_class_is_left_out() -> None:
    meter = Meter()
    meter.add([[2.0, 0.0, 1.0], [0.0, 0.0, 1.0]], [0, 2], 0.5)
    found = meter.result()
    assert found.metrics["balanced_accuracy"] == 1.0
    assert found.per_class is not None
    np.testing.assert_array_equal(found.per_class.recall, [1.0, np.nan, 1.0])


@pytest.mark.parametrize("from_probabilities", [False, True])
def test_labels_batch_by_batch(from_probabilities: bool) -> None:
    rng = np.random.default_rng(2)
    scores = rng.standard_normal((47, 4)).astype(np.float32)
    targets = (rng.random((47, 4)) < 0.4).astype(np.float32)
    given = 1 / (1 + np.exp(-scores)) if from_probabilities else scores
    meter, running = Meter("multilabel", from_probabilities), RunningMeter("multilabel")
    reused = np.empty_like(given)
    for part in PARTS:
        batch = reused[part]
        batch[...] = given[part]
        meter.add(batch, targets[part], 0.5)
        running.add(scores[part], targets[part], 0.5)
        batch[...] = 0  # as an array that the next step uses again
    found, decided = meter.result(), scores > 0
    assert found.accuracy == found.metrics["exact_match"] == exact_match(decided, targets)
    np.testing.assert_allclose(found.each["average_precision"], average_precision(scores, targets))
    table = label_table(decided, targets)
    expected = {
        "exact_match": found.accuracy,
        "label_accuracy": label_accuracy(decided, targets),
        "micro_f1": table.micro()["f1"],
        "macro_f1": table.macro()["f1"],
        "map": average_precision(scores, targets).mean(),
        "auroc": auroc(scores, targets).mean(),
    }
    assert found.metrics == pytest.approx(expected)
    assert running.metrics == pytest.approx({k: expected[k] for k in list(expected)[:2]})
    assert found.per_class is not None
    np.testing.assert_array_equal(found.per_class.f1, table.f1)
    assert found.confusion.shape == (0, 0)
    assert running.loss == 0.5


def test_outputs_batch_by_batch() -> None:
    rng = np.random.default_rng(3)
    p, t = rng.standard_normal((47, 3)), rng.standard_normal((47, 3))
    t[:, 1] += 1e6
    p[:, 1], t[:, 2] = t[:, 1] + 0.1 * p[:, 1], 0.1
    meter, running = Meter("regression"), RunningMeter("regression")
    for part in PARTS:
        meter.add(p[part], t[part], 2.0)
        running.add(p[part], t[part], 2.0)
    found = meter.result()
    np.testing.assert_allclose(found.each["mae"], mean_absolute_error(p, t))
    np.testing.assert_allclose(found.each["rmse"], root_mean_squared_error(p, t))
    np.testing.assert_allclose(found.each["r2"], r2_score(p, t), rtol=1e-9)
    assert np.isnan(found.each["r2"][2])  # constant targets
    whole = {"mae": np.abs(p - t).mean(), "rmse": np.sqrt(np.square(p - t).mean())}
    assert running.metrics == pytest.approx(whole)
    assert {k: found.metrics[k] for k in whole} == pytest.approx(whole)
    assert found.metrics["r2"] == pytest.approx(r2_score(p, t)[:2].mean())
    assert np.isnan(found.accuracy)
    assert list(found.row("test")) == ["test_loss", "test_mae", "test_rmse", "test_r2"]


def test_one_output_may_be_flat() -> None:
    for meter in (Meter("regression"), RunningMeter("regression")):
        meter.add(np.array([[1.0], [3.0]]), np.array([1.0, 2.0]), 0.5)
        metrics = meter.metrics if isinstance(meter, RunningMeter) else meter.result().metrics
        assert metrics["mae"] == 0.5


def test_mixed_images_count_by_their_largest_share() -> None:
    meter = RunningMeter()
    meter.add(np.eye(3), np.array([[0.7, 0.3, 0], [0.6, 0.4, 0], [0, 0, 1.0]]), 1.0)
    assert meter.metrics["accuracy"] == 2 / 3


@pytest.mark.parametrize("task", TASKS)
def test_an_interrupted_epoch_goes_on_bit_for_bit(task: str) -> None:
    rng = np.random.default_rng(4)
    whole, first, second = (RunningMeter(task) for _ in range(3))  # type: ignore[arg-type]
    for step in range(10):
        scores = rng.standard_normal((7, 4))
        targets = rng.integers(0, 4, 7) if task == "classification" else rng.random((7, 4))
        loss = rng.random()
        if step == 4:
            second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        whole.add(scores, targets, loss)
        (first if step < 4 else second).add(scores, targets, loss)
    assert (second.loss, second.metrics, second.images) == (whole.loss, whole.metrics, 70)
    other = "regression" if task != "regression" else "multilabel"
    with pytest.raises(ShapeError, match="the state of"):
        RunningMeter(other).load_state_dict(whole.state_dict())


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_named(task: str, bad: float) -> None:
    meter = Meter(task)  # type: ignore[arg-type]
    good, targets = np.zeros((3, 2)), np.array([0, 1, 0])
    table = targets if task == "classification" else np.zeros((3, 2))
    meter.add(good, table, 0.0)
    good[1, 1] = bad
    with pytest.raises(AnomalyError, match=rf"scores of image 4 .* hold {bad}"):
        meter.add(good, table, 0.0)


def test_misuse() -> None:
    with pytest.raises(KindError, match="a task of classification, multilabel, regression"):
        Meter("detection")  # type: ignore[arg-type]
    with pytest.raises(KindError, match="a task of"):
        RunningMeter("detection")  # type: ignore[arg-type]
    for task in TASKS:
        with pytest.raises(ShapeError, match="at least one batch"):
            Meter(task).result()
    meter = Meter()
    meter.add(np.eye(3), [0, 1, 2], 0.0)
    with pytest.raises(ShapeError, match="3 classes as before"):
        meter.add(np.eye(2), [0, 1], 0.0)
    with pytest.raises(LabelError, match="meter labels"):
        meter.add(np.eye(3), [0, 1, 3], 0.0)
    labels = Meter("multilabel")
    labels.add(np.eye(3), np.eye(3), 0.0)
    with pytest.raises(ShapeError, match="3 labels as before"):
        labels.add(np.eye(2), np.eye(2), 0.0)
    with pytest.raises(DataError, match="0 or 1"):
        labels.add(np.eye(3), 0.3 * np.eye(3), 0.0)
    outputs = Meter("regression")
    outputs.add(np.eye(3), np.eye(3), 0.0)
    with pytest.raises(ShapeError, match="3 outputs as before"):
        outputs.add(np.eye(2), np.eye(2), 0.0)
    with pytest.raises(ShapeError, match="a target for each score"):
        RunningMeter("regression").add(np.eye(3), np.ones(3), 0.0)
