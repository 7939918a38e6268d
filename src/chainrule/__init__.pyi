"""The public face; written by tools/face.py."""

import numpy as np

from chainrule import data as data
from chainrule import engine as engine
from chainrule import errors as errors
from chainrule import flat as flat
from chainrule import formats as formats
from chainrule import inference as inference
from chainrule import inspection as inspection
from chainrule import models as models
from chainrule import nn as nn
from chainrule import ops as ops
from chainrule import optim as optim
from chainrule import retrieval as retrieval
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
from chainrule.engine.device import device as device
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
from chainrule.engine.state import inference_mode as inference_mode
from chainrule.engine.state import is_grad_enabled as is_grad_enabled
from chainrule.engine.state import is_inference_mode_enabled as is_inference_mode_enabled
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
from chainrule.formats.torch_save import save_torch as save_torch
from chainrule.formats.weights import load_weights as load_weights
from chainrule.formats.weights import save_weights as save_weights
from chainrule.inference import fuse as fuse
from chainrule.inspection.circuits import draw as draw
from chainrule.inspection.circuits import explain as explain
from chainrule.inspection.health import monitor as monitor
from chainrule.inspection.regions import linear_regions as linear_regions
from chainrule.inspection.summary import summary as summary
from chainrule.inspection.surface import loss_surface as loss_surface
from chainrule.models.registry import create_model as create_model
from chainrule.nn.module import Module as Module
from chainrule.ops import linalg as linalg
from chainrule.ops.accumulate import count_nonzero as count_nonzero
from chainrule.ops.accumulate import cumsum as cumsum
from chainrule.ops.accumulate import logsumexp as logsumexp
from chainrule.ops.accumulate import prod as prod
from chainrule.ops.activation import bnll as bnll
from chainrule.ops.activation import elu as elu
from chainrule.ops.activation import leaky_relu as leaky_relu
from chainrule.ops.activation import logsigmoid as logsigmoid
from chainrule.ops.activation import relu as relu
from chainrule.ops.activation import sigmoid as sigmoid
from chainrule.ops.activation import softplus as softplus
from chainrule.ops.activation import tanh as tanh
from chainrule.ops.activation_channel import glu as glu
from chainrule.ops.activation_channel import maxout as maxout
from chainrule.ops.activation_channel import prelu as prelu
from chainrule.ops.activation_hard import hardshrink as hardshrink
from chainrule.ops.activation_hard import hardsigmoid as hardsigmoid
from chainrule.ops.activation_hard import hardswish as hardswish
from chainrule.ops.activation_hard import hardtanh as hardtanh
from chainrule.ops.activation_hard import relu6 as relu6
from chainrule.ops.activation_hard import softshrink as softshrink
from chainrule.ops.activation_hard import threshold as threshold
from chainrule.ops.activation_inplace import celu_ as celu_
from chainrule.ops.activation_inplace import elu_ as elu_
from chainrule.ops.activation_inplace import hardtanh_ as hardtanh_
from chainrule.ops.activation_inplace import leaky_relu_ as leaky_relu_
from chainrule.ops.activation_inplace import relu_ as relu_
from chainrule.ops.activation_inplace import rrelu_ as rrelu_
from chainrule.ops.activation_inplace import selu_ as selu_
from chainrule.ops.activation_inplace import threshold_ as threshold_
from chainrule.ops.activation_random import gumbel_softmax as gumbel_softmax
from chainrule.ops.activation_random import rrelu as rrelu
from chainrule.ops.activation_smooth import celu as celu
from chainrule.ops.activation_smooth import gelu as gelu
from chainrule.ops.activation_smooth import mish as mish
from chainrule.ops.activation_smooth import selu as selu
from chainrule.ops.activation_smooth import silu as silu
from chainrule.ops.activation_smooth import softsign as softsign
from chainrule.ops.activation_smooth import tanhshrink as tanhshrink
from chainrule.ops.asking import is_floating_point as is_floating_point
from chainrule.ops.asking import is_tensor as is_tensor
from chainrule.ops.asking import numel as numel
from chainrule.ops.bilinear import bilinear as bilinear
from chainrule.ops.binary import atan2 as atan2
from chainrule.ops.binary import copysign as copysign
from chainrule.ops.binary import fmod as fmod
from chainrule.ops.binary import heaviside as heaviside
from chainrule.ops.binary import hypot as hypot
from chainrule.ops.binary import xlogy as xlogy
from chainrule.ops.bitwise import bitwise_and as bitwise_and
from chainrule.ops.bitwise import bitwise_left_shift as bitwise_left_shift
from chainrule.ops.bitwise import bitwise_not as bitwise_not
from chainrule.ops.bitwise import bitwise_or as bitwise_or
from chainrule.ops.bitwise import bitwise_right_shift as bitwise_right_shift
from chainrule.ops.bitwise import bitwise_xor as bitwise_xor
from chainrule.ops.blend import addbmm as addbmm
from chainrule.ops.blend import addmm as addmm
from chainrule.ops.blend import addmv as addmv
from chainrule.ops.blend import addr as addr
from chainrule.ops.blend import baddbmm as baddbmm
from chainrule.ops.caffe import accuracy as accuracy
from chainrule.ops.caffe import argmax_top_k as argmax_top_k
from chainrule.ops.caffe import batch_reindex as batch_reindex
from chainrule.ops.caffe import binary_threshold as binary_threshold
from chainrule.ops.caffe import crop as crop
from chainrule.ops.caffe import eltwise as eltwise
from chainrule.ops.caffe import filter_batch as filter_batch
from chainrule.ops.caffe import inner_product as inner_product
from chainrule.ops.caffe import reduction as reduction
from chainrule.ops.caffe import scaled_exp as scaled_exp
from chainrule.ops.caffe import scaled_log as scaled_log
from chainrule.ops.caffe import scaled_power as scaled_power
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
from chainrule.ops.conv_map import conv2d_map as conv2d_map
from chainrule.ops.conv_map import conv_transpose2d_map as conv_transpose2d_map
from chainrule.ops.conv_transpose import conv_transpose1d as conv_transpose1d
from chainrule.ops.conv_transpose import conv_transpose2d as conv_transpose2d
from chainrule.ops.conv_transpose import conv_transpose3d as conv_transpose3d
from chainrule.ops.cumulate import cummax as cummax
from chainrule.ops.cumulate import cummin as cummin
from chainrule.ops.cumulate import cumprod as cumprod
from chainrule.ops.cumulate import logcumsumexp as logcumsumexp
from chainrule.ops.diagonal import diag as diag
from chainrule.ops.diagonal import diag_embed as diag_embed
from chainrule.ops.diagonal import diagflat as diagflat
from chainrule.ops.diagonal import diagonal as diagonal
from chainrule.ops.diagonal import trace as trace
from chainrule.ops.diagonal import tril as tril
from chainrule.ops.diagonal import tril_indices as tril_indices
from chainrule.ops.diagonal import triu as triu
from chainrule.ops.diagonal import triu_indices as triu_indices
from chainrule.ops.distance import cdist as cdist
from chainrule.ops.distance import cosine_similarity as cosine_similarity
from chainrule.ops.distance import pairwise_distance as pairwise_distance
from chainrule.ops.distance import pdist as pdist
from chainrule.ops.dropout import alpha_dropout as alpha_dropout
from chainrule.ops.dropout import dropout as dropout
from chainrule.ops.dropout import dropout1d as dropout1d
from chainrule.ops.dropout import dropout2d as dropout2d
from chainrule.ops.dropout import dropout3d as dropout3d
from chainrule.ops.dropout import feature_alpha_dropout as feature_alpha_dropout
from chainrule.ops.dropout import feature_dropout as feature_dropout
from chainrule.ops.einsum import chain_matmul as chain_matmul
from chainrule.ops.einsum import einsum as einsum
from chainrule.ops.einsum import inner as inner
from chainrule.ops.einsum import tensordot as tensordot
from chainrule.ops.elementwise import add as add
from chainrule.ops.elementwise import div as div
from chainrule.ops.elementwise import floor_divide as floor_divide
from chainrule.ops.elementwise import mul as mul
from chainrule.ops.elementwise import neg as neg
from chainrule.ops.elementwise import remainder as remainder
from chainrule.ops.elementwise import sub as sub
from chainrule.ops.embedding import embedding as embedding
from chainrule.ops.embedding import one_hot as one_hot
from chainrule.ops.embedding_bag import embedding_bag as embedding_bag
from chainrule.ops.extrema import amax as amax
from chainrule.ops.extrema import amin as amin
from chainrule.ops.extrema import argmax as argmax
from chainrule.ops.extrema import argmin as argmin
from chainrule.ops.extrema import max as max
from chainrule.ops.extrema import min as min
from chainrule.ops.fold import fold as fold
from chainrule.ops.fold import fold1d as fold1d
from chainrule.ops.fold import fold3d as fold3d
from chainrule.ops.fold import unfold as unfold
from chainrule.ops.fold import unfold1d as unfold1d
from chainrule.ops.fold import unfold3d as unfold3d
from chainrule.ops.fused import add_relu as add_relu
from chainrule.ops.fused import batch_norm_relu as batch_norm_relu
from chainrule.ops.fused import conv2d_relu as conv2d_relu
from chainrule.ops.fused import relu_max_pool2d as relu_max_pool2d
from chainrule.ops.gather import argwhere as argwhere
from chainrule.ops.gather import gather as gather
from chainrule.ops.gather import index_select as index_select
from chainrule.ops.gather import masked_select as masked_select
from chainrule.ops.gather import nonzero as nonzero
from chainrule.ops.gather import take as take
from chainrule.ops.gather import take_along_dim as take_along_dim
from chainrule.ops.grid_sample import affine_grid as affine_grid
from chainrule.ops.grid_sample import grid_sample as grid_sample
from chainrule.ops.grids import block_diag as block_diag
from chainrule.ops.grids import cartesian_prod as cartesian_prod
from chainrule.ops.grids import combinations as combinations
from chainrule.ops.grids import cross as cross
from chainrule.ops.grids import kron as kron
from chainrule.ops.grids import meshgrid as meshgrid
from chainrule.ops.index import getitem as getitem
from chainrule.ops.index_write import index_add as index_add
from chainrule.ops.index_write import index_copy as index_copy
from chainrule.ops.index_write import index_fill as index_fill
from chainrule.ops.index_write import index_put as index_put
from chainrule.ops.index_write import index_reduce as index_reduce
from chainrule.ops.index_write import masked_scatter as masked_scatter
from chainrule.ops.index_write import put as put
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
from chainrule.ops.loss_class import linear_cross_entropy as linear_cross_entropy
from chainrule.ops.loss_ctc import ctc_loss as ctc_loss
from chainrule.ops.loss_embedding import contrastive_loss as contrastive_loss
from chainrule.ops.loss_embedding import cosine_embedding_loss as cosine_embedding_loss
from chainrule.ops.loss_embedding import l1_hinge_embedding_loss as l1_hinge_embedding_loss
from chainrule.ops.loss_embedding import triplet_margin_loss as triplet_margin_loss
from chainrule.ops.loss_embedding import (
    triplet_margin_with_distance_loss as triplet_margin_with_distance_loss,
)
from chainrule.ops.loss_hinge import hinge_embedding_loss as hinge_embedding_loss
from chainrule.ops.loss_hinge import hinge_loss as hinge_loss
from chainrule.ops.loss_hinge import margin_loss as margin_loss
from chainrule.ops.loss_hinge import margin_ranking_loss as margin_ranking_loss
from chainrule.ops.loss_hinge import soft_margin_loss as soft_margin_loss
from chainrule.ops.loss_infogain import infogain_loss as infogain_loss
from chainrule.ops.loss_infogain import multinomial_logistic_loss as multinomial_logistic_loss
from chainrule.ops.loss_labels import nll_loss as nll_loss
from chainrule.ops.loss_likelihood import gaussian_nll_loss as gaussian_nll_loss
from chainrule.ops.loss_likelihood import kl_div as kl_div
from chainrule.ops.loss_likelihood import poisson_nll_loss as poisson_nll_loss
from chainrule.ops.loss_margin import multi_margin_loss as multi_margin_loss
from chainrule.ops.loss_multilabel import multilabel_margin_loss as multilabel_margin_loss
from chainrule.ops.loss_multilabel import multilabel_soft_margin_loss as multilabel_soft_margin_loss
from chainrule.ops.loss_smooth import euclidean_loss as euclidean_loss
from chainrule.ops.loss_smooth import huber_loss as huber_loss
from chainrule.ops.loss_smooth import l1_cost as l1_cost
from chainrule.ops.loss_smooth import smooth_l1_loss as smooth_l1_loss
from chainrule.ops.matmul import bmm as bmm
from chainrule.ops.matmul import dot as dot
from chainrule.ops.matmul import matmul as matmul
from chainrule.ops.matmul import mm as mm
from chainrule.ops.matmul import mv as mv
from chainrule.ops.matmul import outer as outer
from chainrule.ops.norm import batch_norm as batch_norm
from chainrule.ops.norm_contrast import contrastive_norm as contrastive_norm
from chainrule.ops.norm_contrast import divisive_norm as divisive_norm
from chainrule.ops.norm_contrast import mean_variance_norm as mean_variance_norm
from chainrule.ops.norm_contrast import subtractive_norm as subtractive_norm
from chainrule.ops.norm_group import group_norm as group_norm
from chainrule.ops.norm_group import instance_norm as instance_norm
from chainrule.ops.norm_layer import layer_norm as layer_norm
from chainrule.ops.norm_layer import rms_norm as rms_norm
from chainrule.ops.norm_local import local_response_norm as local_response_norm
from chainrule.ops.norm_local import local_response_norm_within as local_response_norm_within
from chainrule.ops.normalize import normalize as normalize
from chainrule.ops.pad import pad as pad
from chainrule.ops.passthrough import gradient_reversal as gradient_reversal
from chainrule.ops.passthrough import l1_penalty as l1_penalty
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
from chainrule.ops.pool_fractional import fractional_max_pool2d as fractional_max_pool2d
from chainrule.ops.pool_fractional import (
    fractional_max_pool2d_with_indices as fractional_max_pool2d_with_indices,
)
from chainrule.ops.pool_fractional import fractional_max_pool3d as fractional_max_pool3d
from chainrule.ops.pool_fractional import (
    fractional_max_pool3d_with_indices as fractional_max_pool3d_with_indices,
)
from chainrule.ops.pool_max import adaptive_max_pool1d as adaptive_max_pool1d
from chainrule.ops.pool_max import (
    adaptive_max_pool1d_with_indices as adaptive_max_pool1d_with_indices,
)
from chainrule.ops.pool_max import adaptive_max_pool2d as adaptive_max_pool2d
from chainrule.ops.pool_max import (
    adaptive_max_pool2d_with_indices as adaptive_max_pool2d_with_indices,
)
from chainrule.ops.pool_max import adaptive_max_pool3d as adaptive_max_pool3d
from chainrule.ops.pool_max import (
    adaptive_max_pool3d_with_indices as adaptive_max_pool3d_with_indices,
)
from chainrule.ops.pool_max import max_pool1d as max_pool1d
from chainrule.ops.pool_max import max_pool1d_with_indices as max_pool1d_with_indices
from chainrule.ops.pool_max import max_pool2d as max_pool2d
from chainrule.ops.pool_max import max_pool2d_with_indices as max_pool2d_with_indices
from chainrule.ops.pool_max import max_pool3d as max_pool3d
from chainrule.ops.pool_max import max_pool3d_with_indices as max_pool3d_with_indices
from chainrule.ops.pool_power import lp_pool1d as lp_pool1d
from chainrule.ops.pool_power import lp_pool2d as lp_pool2d
from chainrule.ops.pool_power import lp_pool3d as lp_pool3d
from chainrule.ops.pool_pyramid import global_avg_pool as global_avg_pool
from chainrule.ops.pool_pyramid import global_max_pool as global_max_pool
from chainrule.ops.pool_pyramid import spatial_pyramid_pool1d as spatial_pyramid_pool1d
from chainrule.ops.pool_pyramid import spatial_pyramid_pool2d as spatial_pyramid_pool2d
from chainrule.ops.pool_pyramid import spatial_pyramid_pool3d as spatial_pyramid_pool3d
from chainrule.ops.power import pow as pow
from chainrule.ops.reduce import mean as mean
from chainrule.ops.reduce import std as std
from chainrule.ops.reduce import sum as sum
from chainrule.ops.reduce import var as var
from chainrule.ops.repeat import repeat as repeat
from chainrule.ops.repeat import repeat_interleave as repeat_interleave
from chainrule.ops.repeat import tile as tile
from chainrule.ops.repeat import windows as windows
from chainrule.ops.resample import interpolate as interpolate
from chainrule.ops.resample import upsample as upsample
from chainrule.ops.resample import upsample_bilinear as upsample_bilinear
from chainrule.ops.resample import upsample_nearest as upsample_nearest
from chainrule.ops.rounding import abs as abs
from chainrule.ops.rounding import ceil as ceil
from chainrule.ops.rounding import floor as floor
from chainrule.ops.rounding import frac as frac
from chainrule.ops.rounding import nan_to_num as nan_to_num
from chainrule.ops.rounding import round as round
from chainrule.ops.rounding import sign as sign
from chainrule.ops.rounding import trunc as trunc
from chainrule.ops.scatter import scatter as scatter
from chainrule.ops.scatter import scatter_add as scatter_add
from chainrule.ops.scatter import scatter_reduce as scatter_reduce
from chainrule.ops.select import clamp as clamp
from chainrule.ops.select import clamp_max as clamp_max
from chainrule.ops.select import clamp_min as clamp_min
from chainrule.ops.select import masked_fill as masked_fill
from chainrule.ops.select import maximum as maximum
from chainrule.ops.select import minimum as minimum
from chainrule.ops.select import where as where
from chainrule.ops.sets import bincount as bincount
from chainrule.ops.sets import bucketize as bucketize
from chainrule.ops.sets import histc as histc
from chainrule.ops.sets import isin as isin
from chainrule.ops.sets import searchsorted as searchsorted
from chainrule.ops.sets import unique as unique
from chainrule.ops.sets import unique_consecutive as unique_consecutive
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
from chainrule.ops.shuffle import channel_shuffle as channel_shuffle
from chainrule.ops.shuffle import native_channel_shuffle as native_channel_shuffle
from chainrule.ops.shuffle import pixel_shuffle as pixel_shuffle
from chainrule.ops.shuffle import pixel_unshuffle as pixel_unshuffle
from chainrule.ops.slicing import narrow as narrow
from chainrule.ops.slicing import select as select
from chainrule.ops.softmax import log_softmax as log_softmax
from chainrule.ops.softmax import softmax as softmax
from chainrule.ops.softmax import softmin as softmin
from chainrule.ops.sort import argsort as argsort
from chainrule.ops.sort import kthvalue as kthvalue
from chainrule.ops.sort import median as median
from chainrule.ops.sort import mode as mode
from chainrule.ops.sort import msort as msort
from chainrule.ops.sort import nanmedian as nanmedian
from chainrule.ops.sort import sort as sort
from chainrule.ops.sort import topk as topk
from chainrule.ops.sparse import sparse_linear as sparse_linear
from chainrule.ops.special import erf as erf
from chainrule.ops.special import erfc as erfc
from chainrule.ops.special import erfinv as erfinv
from chainrule.ops.special import exp2 as exp2
from chainrule.ops.special import logit as logit
from chainrule.ops.special import sinc as sinc
from chainrule.ops.stacking import atleast_1d as atleast_1d
from chainrule.ops.stacking import atleast_2d as atleast_2d
from chainrule.ops.stacking import atleast_3d as atleast_3d
from chainrule.ops.stacking import broadcast_shapes as broadcast_shapes
from chainrule.ops.stacking import broadcast_tensors as broadcast_tensors
from chainrule.ops.stacking import column_stack as column_stack
from chainrule.ops.stacking import dsplit as dsplit
from chainrule.ops.stacking import dstack as dstack
from chainrule.ops.stacking import fliplr as fliplr
from chainrule.ops.stacking import flipud as flipud
from chainrule.ops.stacking import hsplit as hsplit
from chainrule.ops.stacking import hstack as hstack
from chainrule.ops.stacking import rot90 as rot90
from chainrule.ops.stacking import row_stack as row_stack
from chainrule.ops.stacking import split_with_sizes as split_with_sizes
from chainrule.ops.stacking import tensor_split as tensor_split
from chainrule.ops.stacking import unsafe_chunk as unsafe_chunk
from chainrule.ops.stacking import unsafe_split as unsafe_split
from chainrule.ops.stacking import vsplit as vsplit
from chainrule.ops.stacking import vstack as vstack
from chainrule.ops.statistics import aminmax as aminmax
from chainrule.ops.statistics import nanmean as nanmean
from chainrule.ops.statistics import nanquantile as nanquantile
from chainrule.ops.statistics import nansum as nansum
from chainrule.ops.statistics import quantile as quantile
from chainrule.ops.statistics import std_mean as std_mean
from chainrule.ops.statistics import var_mean as var_mean
from chainrule.ops.subsample import subsampling1d as subsampling1d
from chainrule.ops.subsample import subsampling2d as subsampling2d
from chainrule.ops.subsample import subsampling3d as subsampling3d
from chainrule.ops.ternary import addcdiv as addcdiv
from chainrule.ops.ternary import addcmul as addcmul
from chainrule.ops.ternary import lerp as lerp
from chainrule.ops.trigonometric import acos as acos
from chainrule.ops.trigonometric import acosh as acosh
from chainrule.ops.trigonometric import asin as asin
from chainrule.ops.trigonometric import asinh as asinh
from chainrule.ops.trigonometric import atan as atan
from chainrule.ops.trigonometric import atanh as atanh
from chainrule.ops.trigonometric import cosh as cosh
from chainrule.ops.trigonometric import deg2rad as deg2rad
from chainrule.ops.trigonometric import rad2deg as rad2deg
from chainrule.ops.trigonometric import sinh as sinh
from chainrule.ops.trigonometric import tan as tan
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
from chainrule.ops.unpool import max_unpool1d as max_unpool1d
from chainrule.ops.unpool import max_unpool2d as max_unpool2d
from chainrule.ops.unpool import max_unpool3d as max_unpool3d
from chainrule.ops.vector_norm import dist as dist
from chainrule.ops.vector_norm import norm as norm

absolute = abs
arccos = acos
arccosh = acosh
arcsin = asin
arcsinh = asinh
arctan = atan
arctan2 = atan2
arctanh = atanh
as_tensor = asarray
clip = clamp
divide = div
expit = sigmoid
fix = trunc
multiply = mul
negative = neg
sigmoid_cross_entropy = binary_cross_entropy_with_logits
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
