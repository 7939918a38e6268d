"""Training: configuration, loop, metrics, the folder of a run."""

from chainrule.training.config import RECIPES, TrainConfig, recipe
from chainrule.training.finder import RateCurve, find_lr
from chainrule.training.folder import RunConfig, RunFolder
from chainrule.training.loop import Callback, Progress, evaluate, fit
from chainrule.training.metrics import (
    Evaluation,
    Row,
    Tally,
    accuracy,
    confusion_matrix,
    predictions,
)
from chainrule.training.task import Predictor, TrainTask, evaluate_run

__all__ = [
    "RECIPES",
    "Callback",
    "Evaluation",
    "Predictor",
    "Progress",
    "RateCurve",
    "Row",
    "RunConfig",
    "RunFolder",
    "Tally",
    "TrainConfig",
    "TrainTask",
    "accuracy",
    "confusion_matrix",
    "evaluate",
    "evaluate_run",
    "find_lr",
    "fit",
    "predictions",
    "recipe",
]
