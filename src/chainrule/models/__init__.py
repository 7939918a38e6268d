"""Networks by name: `create_model("lenet5")`."""

from chainrule.models.lenet import LeNet5
from chainrule.models.registry import MODELS, create_model, input_size, list_models, register

__all__ = ["MODELS", "LeNet5", "create_model", "input_size", "list_models", "register"]
