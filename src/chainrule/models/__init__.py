"""Networks by name, `create_model("lenet5")`, and the machines that came before them."""

from chainrule.models.alexnet import AlexNet, alexnet_slides, alexnet_two_towers, zfnet
from chainrule.models.baselines import MLP, LinearClassifier, softmax, svm
from chainrule.models.googlenet import GoogLeNet, GoogLeNetOutputs, googlenet, googlenet_2014
from chainrule.models.history import Adaline, Madaline, Perceptron
from chainrule.models.lenet import LeNet5
from chainrule.models.lenet_1998 import LeNet1998
from chainrule.models.neighbours import KNearestNeighbours
from chainrule.models.neocognitron import Neocognitron
from chainrule.models.pattern import PatternNet
from chainrule.models.registry import MODELS, create_model, input_size, list_models, register
from chainrule.models.resnet import (
    CifarResNet,
    ResNet,
    plain20,
    plain32,
    plain44,
    plain56,
    plain110,
    resnet18,
    resnet20,
    resnet32,
    resnet34,
    resnet44,
    resnet50,
    resnet56,
    resnet101,
    resnet110,
    resnet152,
)
from chainrule.models.retrieval import RetrievalDCNN
from chainrule.models.vgg import (
    VGG,
    vgg11,
    vgg11_bn,
    vgg11_lrn,
    vgg13,
    vgg13_bn,
    vgg16,
    vgg16_1x1,
    vgg16_bn,
    vgg19,
    vgg19_bn,
)

__all__ = [
    "MLP",
    "MODELS",
    "VGG",
    "Adaline",
    "AlexNet",
    "CifarResNet",
    "GoogLeNet",
    "GoogLeNetOutputs",
    "KNearestNeighbours",
    "LeNet5",
    "LeNet1998",
    "LinearClassifier",
    "Madaline",
    "Neocognitron",
    "PatternNet",
    "Perceptron",
    "ResNet",
    "RetrievalDCNN",
    "alexnet_slides",
    "alexnet_two_towers",
    "create_model",
    "googlenet",
    "googlenet_2014",
    "input_size",
    "list_models",
    "plain20",
    "plain32",
    "plain44",
    "plain56",
    "plain110",
    "register",
    "resnet18",
    "resnet20",
    "resnet32",
    "resnet34",
    "resnet44",
    "resnet50",
    "resnet56",
    "resnet101",
    "resnet110",
    "resnet152",
    "softmax",
    "svm",
    "vgg11",
    "vgg11_bn",
    "vgg11_lrn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_1x1",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
    "zfnet",
]
