"""The public face; written by tools/face.py."""

import numpy as np

from chainrule import data as data
from chainrule import engine as engine
from chainrule import errors as errors
from chainrule import flat as flat
from chainrule import formats as formats
from chainrule import models as models
from chainrule import nn as nn
from chainrule import ops as ops
from chainrule import optim as optim
from chainrule import training as training
from chainrule.engine.capture import Graph as Graph
from chainrule.engine.capture import capture as capture
from chainrule.engine.creation import arange as arange
from chainrule.engine.creation import asarray as asarray
from chainrule.engine.creation import empty as empty
from chainrule.engine.creation import empty_like as empty_like
from chainrule.engine.creation import eye as eye
from chainrule.engine.creation import from_dlpack as from_dlpack
from chainrule.engine.creation import from_numpy as from_numpy
from chainrule.engine.creation import full as full
from chainrule.engine.creation import full_like as full_like
from chainrule.engine.creation import linspace as linspace
from chainrule.engine.creation import ones as ones
from chainrule.engine.creation import ones_like as ones_like
from chainrule.engine.creation import tensor as tensor
from chainrule.engine.creation import zeros as zeros
from chainrule.engine.creation import zeros_like as zeros_like
from chainrule.engine.dispatch import current_backend as current_backend
from chainrule.engine.dispatch import use_backend as use_backend
from chainrule.engine.drawing import rand as rand
from chainrule.engine.drawing import rand_like as rand_like
from chainrule.engine.drawing import randint as randint
from chainrule.engine.drawing import randn as randn
from chainrule.engine.drawing import randn_like as randn_like
from chainrule.engine.drawing import randperm as randperm
from chainrule.engine.function import Function as Function
from chainrule.engine.gradcheck import gradcheck as gradcheck
from chainrule.engine.graph import grad as grad
from chainrule.engine.jacobian import jacobian as jacobian
from chainrule.engine.jacobian import vjp as vjp
from chainrule.engine.random import Generator as Generator
from chainrule.engine.random import initial_seed as initial_seed
from chainrule.engine.random import manual_seed as manual_seed
from chainrule.engine.state import detect_anomaly as detect_anomaly
from chainrule.engine.state import enable_grad as enable_grad
from chainrule.engine.state import is_grad_enabled as is_grad_enabled
from chainrule.engine.state import no_grad as no_grad
from chainrule.engine.state import set_grad_enabled as set_grad_enabled
from chainrule.engine.tensor import Tensor as Tensor
from chainrule.engine.threads import get_num_threads as get_num_threads
from chainrule.engine.threads import set_num_threads as set_num_threads
from chainrule.errors import AnomalyError as AnomalyError
from chainrule.errors import AxisError as AxisError
from chainrule.errors import BackendError as BackendError
from chainrule.errors import ChainruleError as ChainruleError
from chainrule.errors import CheckpointError as CheckpointError
from chainrule.errors import DataError as DataError
from chainrule.errors import GraphError as GraphError
from chainrule.errors import KindError as KindError
from chainrule.errors import LabelError as LabelError
from chainrule.errors import ShapeError as ShapeError
from chainrule.errors import UndefinedKindError as UndefinedKindError
from chainrule.models.registry import create_model as create_model
from chainrule.nn.module import Module as Module
from chainrule.ops.accumulate import count_nonzero as count_nonzero
from chainrule.ops.accumulate import cumsum as cumsum
from chainrule.ops.accumulate import logsumexp as logsumexp
from chainrule.ops.accumulate import prod as prod
from chainrule.ops.activation import elu as elu
from chainrule.ops.activation import leaky_relu as leaky_relu
from chainrule.ops.activation import logsigmoid as logsigmoid
from chainrule.ops.activation import relu as relu
from chainrule.ops.activation import sigmoid as sigmoid
from chainrule.ops.activation import softplus as softplus
from chainrule.ops.activation import tanh as tanh
from chainrule.ops.activation_channel import maxout as maxout
from chainrule.ops.activation_channel import prelu as prelu
from chainrule.ops.cast import cast as cast
from chainrule.ops.cast import result_type as result_type
from chainrule.ops.compare import all as all
from chainrule.ops.compare import allclose as allclose
from chainrule.ops.compare import any as any
from chainrule.ops.compare import eq as eq
from chainrule.ops.compare import equal as equal
from chainrule.ops.compare import ge as ge
from chainrule.ops.compare import gt as gt
from chainrule.ops.compare import isclose as isclose
from chainrule.ops.compare import isfinite as isfinite
from chainrule.ops.compare import isinf as isinf
from chainrule.ops.compare import isnan as isnan
from chainrule.ops.compare import le as le
from chainrule.ops.compare import logical_and as logical_and
from chainrule.ops.compare import logical_not as logical_not
from chainrule.ops.compare import logical_or as logical_or
from chainrule.ops.compare import logical_xor as logical_xor
from chainrule.ops.compare import lt as lt
from chainrule.ops.compare import ne as ne
from chainrule.ops.conv import conv1d as conv1d
from chainrule.ops.conv import conv2d as conv2d
from chainrule.ops.conv import conv3d as conv3d
from chainrule.ops.dropout import dropout as dropout
from chainrule.ops.dropout import dropout1d as dropout1d
from chainrule.ops.dropout import dropout2d as dropout2d
from chainrule.ops.dropout import dropout3d as dropout3d
from chainrule.ops.elementwise import add as add
from chainrule.ops.elementwise import div as div
from chainrule.ops.elementwise import floor_divide as floor_divide
from chainrule.ops.elementwise import mul as mul
from chainrule.ops.elementwise import neg as neg
from chainrule.ops.elementwise import remainder as remainder
from chainrule.ops.elementwise import sub as sub
from chainrule.ops.extrema import amax as amax
from chainrule.ops.extrema import amin as amin
from chainrule.ops.extrema import argmax as argmax
from chainrule.ops.extrema import argmin as argmin
from chainrule.ops.extrema import max as max
from chainrule.ops.extrema import min as min
from chainrule.ops.fold import fold as fold
from chainrule.ops.fold import unfold as unfold
from chainrule.ops.fused import add_relu as add_relu
from chainrule.ops.fused import batch_norm_relu as batch_norm_relu
from chainrule.ops.fused import conv2d_relu as conv2d_relu
from chainrule.ops.fused import relu_max_pool2d as relu_max_pool2d
from chainrule.ops.index import getitem as getitem
from chainrule.ops.join import cat as cat
from chainrule.ops.join import chunk as chunk
from chainrule.ops.join import concat as concat
from chainrule.ops.join import concatenate as concatenate
from chainrule.ops.join import split as split
from chainrule.ops.join import stack as stack
from chainrule.ops.join import unbind as unbind
from chainrule.ops.linear import linear as linear
from chainrule.ops.loss import l1_loss as l1_loss
from chainrule.ops.loss import mse_loss as mse_loss
from chainrule.ops.loss_binary import binary_cross_entropy as binary_cross_entropy
from chainrule.ops.loss_binary import (
    binary_cross_entropy_with_logits as binary_cross_entropy_with_logits,
)
from chainrule.ops.loss_class import cross_entropy as cross_entropy
from chainrule.ops.loss_labels import nll_loss as nll_loss
from chainrule.ops.loss_margin import multi_margin_loss as multi_margin_loss
from chainrule.ops.matmul import bmm as bmm
from chainrule.ops.matmul import dot as dot
from chainrule.ops.matmul import matmul as matmul
from chainrule.ops.matmul import mm as mm
from chainrule.ops.matmul import mv as mv
from chainrule.ops.matmul import outer as outer
from chainrule.ops.norm import batch_norm as batch_norm
from chainrule.ops.norm import local_response_norm as local_response_norm
from chainrule.ops.pad import pad as pad
from chainrule.ops.permute import flip as flip
from chainrule.ops.permute import moveaxis as moveaxis
from chainrule.ops.permute import movedim as movedim
from chainrule.ops.permute import permute as permute
from chainrule.ops.permute import roll as roll
from chainrule.ops.permute import swapaxes as swapaxes
from chainrule.ops.permute import swapdims as swapdims
from chainrule.ops.permute import t as t
from chainrule.ops.permute import transpose as transpose
from chainrule.ops.pool_average import adaptive_avg_pool1d as adaptive_avg_pool1d
from chainrule.ops.pool_average import adaptive_avg_pool2d as adaptive_avg_pool2d
from chainrule.ops.pool_average import adaptive_avg_pool3d as adaptive_avg_pool3d
from chainrule.ops.pool_average import avg_pool1d as avg_pool1d
from chainrule.ops.pool_average import avg_pool2d as avg_pool2d
from chainrule.ops.pool_average import avg_pool3d as avg_pool3d
from chainrule.ops.pool_max import adaptive_max_pool1d as adaptive_max_pool1d
from chainrule.ops.pool_max import adaptive_max_pool2d as adaptive_max_pool2d
from chainrule.ops.pool_max import adaptive_max_pool3d as adaptive_max_pool3d
from chainrule.ops.pool_max import max_pool1d as max_pool1d
from chainrule.ops.pool_max import max_pool2d as max_pool2d
from chainrule.ops.pool_max import max_pool2d_with_indices as max_pool2d_with_indices
from chainrule.ops.pool_max import max_pool3d as max_pool3d
from chainrule.ops.power import pow as pow
from chainrule.ops.reduce import mean as mean
from chainrule.ops.reduce import std as std
from chainrule.ops.reduce import sum as sum
from chainrule.ops.reduce import var as var
from chainrule.ops.rounding import abs as abs
from chainrule.ops.rounding import ceil as ceil
from chainrule.ops.rounding import floor as floor
from chainrule.ops.rounding import round as round
from chainrule.ops.rounding import sign as sign
from chainrule.ops.rounding import trunc as trunc
from chainrule.ops.select import clamp as clamp
from chainrule.ops.select import masked_fill as masked_fill
from chainrule.ops.select import maximum as maximum
from chainrule.ops.select import minimum as minimum
from chainrule.ops.select import where as where
from chainrule.ops.shape import broadcast_to as broadcast_to
from chainrule.ops.shape import clone as clone
from chainrule.ops.shape import contiguous as contiguous
from chainrule.ops.shape import expand as expand
from chainrule.ops.shape import expand_as as expand_as
from chainrule.ops.shape import flatten as flatten
from chainrule.ops.shape import ravel as ravel
from chainrule.ops.shape import reshape as reshape
from chainrule.ops.shape import squeeze as squeeze
from chainrule.ops.shape import unflatten as unflatten
from chainrule.ops.shape import unsqueeze as unsqueeze
from chainrule.ops.slicing import narrow as narrow
from chainrule.ops.slicing import select as select
from chainrule.ops.softmax import log_softmax as log_softmax
from chainrule.ops.softmax import softmax as softmax
from chainrule.ops.softmax import softmin as softmin
from chainrule.ops.unary import cos as cos
from chainrule.ops.unary import exp as exp
from chainrule.ops.unary import expm1 as expm1
from chainrule.ops.unary import log as log
from chainrule.ops.unary import log10 as log10
from chainrule.ops.unary import log1p as log1p
from chainrule.ops.unary import log2 as log2
from chainrule.ops.unary import reciprocal as reciprocal
from chainrule.ops.unary import rsqrt as rsqrt
from chainrule.ops.unary import sin as sin
from chainrule.ops.unary import sqrt as sqrt
from chainrule.ops.unary import square as square

absolute = abs
as_tensor = asarray
clip = clamp
divide = div
multiply = mul
negative = neg
subtract = sub
true_divide = div

__version__: str
float16: np.dtype[np.float16]
float32: np.dtype[np.float32]
float64: np.dtype[np.float64]
int16: np.dtype[np.int16]
int32: np.dtype[np.int32]
int64: np.dtype[np.int64]
int8: np.dtype[np.int8]
uint16: np.dtype[np.uint16]
uint32: np.dtype[np.uint32]
uint64: np.dtype[np.uint64]
uint8: np.dtype[np.uint8]
bool: np.dtype[np.bool_]
double: np.dtype[np.float64]
float: np.dtype[np.float32]
half: np.dtype[np.float16]
int: np.dtype[np.int32]
long: np.dtype[np.int64]
short: np.dtype[np.int16]
