"""All learning-rate schedules, under the name of PyTorch's module."""

from chainrule.optim.schedules import LRScheduler
from chainrule.optim.schedules_cosine import CosineAnnealingLR, CosineAnnealingWarmRestarts
from chainrule.optim.schedules_cycle import CyclicLR, OneCycleLR
from chainrule.optim.schedules_decay import (
    ConstantLR,
    ExponentialLR,
    LinearLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from chainrule.optim.schedules_functions import LambdaLR, MultiplicativeLR
from chainrule.optim.schedules_joined import ChainedScheduler, SequentialLR
from chainrule.optim.schedules_plateau import ReduceLROnPlateau

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]
