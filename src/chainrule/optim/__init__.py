"""Optimisers and learning-rate schedules, under PyTorch's names."""

from chainrule.optim import schedules as lr_scheduler
from chainrule.optim.optimizer import Optimizer
from chainrule.optim.schedules import CosineAnnealingLR, LambdaLR, LRScheduler, StepLR
from chainrule.optim.sgd import SGD

__all__ = [
    "SGD",
    "CosineAnnealingLR",
    "LRScheduler",
    "LambdaLR",
    "Optimizer",
    "StepLR",
    "lr_scheduler",
]
