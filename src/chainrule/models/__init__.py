"""Networks by name, `create_model("lenet5")`, and the machines that came before them."""

from chainrule.models.history import Adaline, Madaline, Perceptron
from chainrule.models.lenet import LeNet5
from chainrule.models.registry import MODELS, create_model, input_size, list_models, register

__all__ = [
    "MODELS",
    "Adaline",
    "LeNet5",
    "Madaline",
    "Perceptron",
    "create_model",
    "input_size",
    "list_models",
    "register",
]
