"""Data sets, the readers of their files, and the way from pixels to a network's input."""

from chainrule.data import transforms
from chainrule.data.addresses import DOWNLOADS
from chainrule.data.arrays import load_arrays
from chainrule.data.cifar import load_cifar10, load_cifar100
from chainrule.data.dataset import ArrayDataset, Dataset, ImageData, check_finite, check_labels
from chainrule.data.dicom import DICOM_ENDINGS, DicomFile, is_dicom
from chainrule.data.dicom_values import Window
from chainrule.data.digits import load_digits
from chainrule.data.download import download
from chainrule.data.folder import ImageFolder, load_folder
from chainrule.data.hdf5 import Hdf5Dataset
from chainrule.data.idx import read_idx
from chainrule.data.images import frame_digit, read_image
from chainrule.data.loader import DataLoader
from chainrule.data.manifest import ManifestDataset, load_manifest
from chainrule.data.mnist import load_fashion_mnist, load_mnist
from chainrule.data.parts import image_data
from chainrule.data.perceptual import hamming, near_duplicates, perceptual_hash
from chainrule.data.picture_dataset import PictureDataset
from chainrule.data.pictures import read_picture
from chainrule.data.prefetch import suggested_workers
from chainrule.data.samplers import (
    BalancedSampler,
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from chainrule.data.shards import TarDataset, load_shards
from chainrule.data.sources import FRAMES, Frame, list_datasets, load_dataset
from chainrule.data.splits import split
from chainrule.data.subsets import ConcatDataset, Subset, random_split

__all__ = [
    "DICOM_ENDINGS",
    "DOWNLOADS",
    "FRAMES",
    "ArrayDataset",
    "BalancedSampler",
    "BatchSampler",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "DicomFile",
    "Frame",
    "Hdf5Dataset",
    "ImageData",
    "ImageFolder",
    "ManifestDataset",
    "PictureDataset",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "Subset",
    "SubsetRandomSampler",
    "TarDataset",
    "WeightedRandomSampler",
    "Window",
    "check_finite",
    "check_labels",
    "download",
    "frame_digit",
    "hamming",
    "image_data",
    "is_dicom",
    "list_datasets",
    "load_arrays",
    "load_cifar10",
    "load_cifar100",
    "load_dataset",
    "load_digits",
    "load_fashion_mnist",
    "load_folder",
    "load_manifest",
    "load_mnist",
    "load_shards",
    "near_duplicates",
    "perceptual_hash",
    "random_split",
    "read_idx",
    "read_image",
    "read_picture",
    "split",
    "suggested_workers",
    "transforms",
]
