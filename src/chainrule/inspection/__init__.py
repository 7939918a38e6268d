"""Looking at networks: what they are made of, what they cost, and what they look at."""

from chainrule.inspection.canvas import figure_png
from chainrule.inspection.grad_cam import grad_cam, last_maps
from chainrule.inspection.gradients import deconvnet, guided_backprop, saliency
from chainrule.inspection.integrated import IntegratedGradients, integrated_gradients
from chainrule.inspection.layers import find_layer, watching
from chainrule.inspection.methods import METHODS, Look, Method, look
from chainrule.inspection.occlusion import occlusion
from chainrule.inspection.overlay import show_attribution
from chainrule.inspection.summary import Summary, summary

__all__ = [
    "METHODS",
    "IntegratedGradients",
    "Look",
    "Method",
    "Summary",
    "deconvnet",
    "figure_png",
    "find_layer",
    "grad_cam",
    "guided_backprop",
    "integrated_gradients",
    "last_maps",
    "look",
    "occlusion",
    "saliency",
    "show_attribution",
    "summary",
    "watching",
]
