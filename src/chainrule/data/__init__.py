"""Data sets, the readers of their files, and the way from pixels to a network's input."""

from chainrule.data.dataset import ArrayDataset, ImageData, check_finite, check_labels
from chainrule.data.digits import load_digits
from chainrule.data.idx import read_idx
from chainrule.data.images import frame_digit, read_image
from chainrule.data.loader import DataLoader
from chainrule.data.mnist import load_mnist
from chainrule.data.preprocess import Preprocess
from chainrule.data.sources import FRAMES, Frame, list_datasets, load_dataset

__all__ = [
    "FRAMES",
    "ArrayDataset",
    "DataLoader",
    "Frame",
    "ImageData",
    "Preprocess",
    "check_finite",
    "check_labels",
    "frame_digit",
    "list_datasets",
    "load_dataset",
    "load_digits",
    "load_mnist",
    "read_idx",
    "read_image",
]
