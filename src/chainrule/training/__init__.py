"""Training: configuration, recipes, loop, checkpoints, metrics, run folders, runs in use."""

from chainrule.training.check import Finding, check_network
from chainrule.training.checkpoint import Checkpoints, load_checkpoint, save_checkpoint
from chainrule.training.config import TrainConfig
from chainrule.training.finder import RateCurve, find_lr
from chainrule.training.folder import RunConfig, RunFolder
from chainrule.training.loop import Callback, Trainer, evaluate, fit
from chainrule.training.metrics import (
    Evaluation,
    Tally,
    accuracy,
    confusion_matrix,
    predictions,
)
from chainrule.training.metrics_meter import Meter, RunningMeter
from chainrule.training.objective import Objective
from chainrule.training.recipes import list_recipes, recipe
from chainrule.training.rows import Row
from chainrule.training.task import TrainTask
from chainrule.training.using import Ensemble, Predictor, evaluate_run, evaluate_runs

__all__ = [
    "Callback",
    "Checkpoints",
    "Ensemble",
    "Evaluation",
    "Finding",
    "Meter",
    "Objective",
    "Predictor",
    "RateCurve",
    "Row",
    "RunConfig",
    "RunFolder",
    "RunningMeter",
    "Tally",
    "TrainConfig",
    "TrainTask",
    "Trainer",
    "accuracy",
    "check_network",
    "confusion_matrix",
    "evaluate",
    "evaluate_run",
    "evaluate_runs",
    "find_lr",
    "fit",
    "list_recipes",
    "load_checkpoint",
    "predictions",
    "recipe",
    "save_checkpoint",
]
