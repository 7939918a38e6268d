"""Networks by name, `create_model("lenet5")`, and the machines that came before them."""

from chainrule.models.alexnet import AlexNet
from chainrule.models.history import Adaline, Madaline, Perceptron
from chainrule.models.lenet import LeNet5
from chainrule.models.registry import MODELS, create_model, input_size, list_models, register
from chainrule.models.resnet import CifarResNet, ResNet, resnet18, resnet20, resnet50
from chainrule.models.vgg import VGG, vgg16

__all__ = [
    "MODELS",
    "VGG",
    "Adaline",
    "AlexNet",
    "CifarResNet",
    "LeNet5",
    "Madaline",
    "Perceptron",
    "ResNet",
    "create_model",
    "input_size",
    "list_models",
    "register",
    "resnet18",
    "resnet20",
    "resnet50",
    "vgg16",
]
