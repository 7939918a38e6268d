"""Optimisers and schedules, under PyTorch's names."""

from chainrule.optim import lr_scheduler, swa_utils
from chainrule.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, StepLR
from chainrule.optim.optimizer import Optimizer
from chainrule.optim.sgd import SGD

__all__ = [
    "SGD",
    "CosineAnnealingLR",
    "LRScheduler",
    "LambdaLR",
    "Optimizer",
    "StepLR",
    "lr_scheduler",
    "swa_utils",
]
