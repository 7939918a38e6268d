"""Looking at networks: what they are made of, how their numbers come about, what they look at."""

from chainrule.inspection.circuits import Drawing, circuit, draw, explain
from chainrule.inspection.figures import figure_png
from chainrule.inspection.grad_cam import grad_cam, last_maps
from chainrule.inspection.gradients import deconvnet, guided_backprop, saliency
from chainrule.inspection.integrated import IntegratedGradients, integrated_gradients
from chainrule.inspection.layers import find_layer, watching
from chainrule.inspection.methods import METHODS, Look, Method, look
from chainrule.inspection.occlusion import occlusion
from chainrule.inspection.overlay import show_attribution
from chainrule.inspection.regions import Regions, deep_bound, linear_regions, zaslavsky
from chainrule.inspection.summary import Summary, summary
from chainrule.inspection.surface import SURFACES, Race, Surface, loss_surface

__all__ = [
    "METHODS",
    "SURFACES",
    "Drawing",
    "IntegratedGradients",
    "Look",
    "Method",
    "Race",
    "Regions",
    "Summary",
    "Surface",
    "circuit",
    "deconvnet",
    "deep_bound",
    "draw",
    "explain",
    "figure_png",
    "find_layer",
    "grad_cam",
    "guided_backprop",
    "integrated_gradients",
    "last_maps",
    "linear_regions",
    "look",
    "loss_surface",
    "occlusion",
    "saliency",
    "show_attribution",
    "summary",
    "watching",
    "zaslavsky",
]
