"""Looking at networks: what they are made of, how their numbers come about, what they look at."""

from chainrule.inspection.canvas import Picture
from chainrule.inspection.circuits import Drawing, circuit, draw, explain
from chainrule.inspection.dream import deep_dream
from chainrule.inspection.embeddings import embeddings, pca, tsne
from chainrule.inspection.figures import embedding_figure, figure_png, image_figure, image_png
from chainrule.inspection.findings import Finding, Limits
from chainrule.inspection.grad_cam import grad_cam, last_maps
from chainrule.inspection.gradients import deconvnet, guided_backprop, saliency
from chainrule.inspection.grids import activation_grid, filter_grid, grid_numbers, image_grid
from chainrule.inspection.health import Monitor, monitor
from chainrule.inspection.history import Measurement
from chainrule.inspection.integrated import IntegratedGradients, integrated_gradients
from chainrule.inspection.layers import find_layer, watching
from chainrule.inspection.looking import Look, Method
from chainrule.inspection.maximisation import activation_maximization, class_image
from chainrule.inspection.methods import METHODS, look
from chainrule.inspection.occlusion import occlusion
from chainrule.inspection.overlay import show_attribution
from chainrule.inspection.patches import Patch, top_patches
from chainrule.inspection.regions import Regions, deep_bound, linear_regions, zaslavsky
from chainrule.inspection.style import gram_matrix, style_transfer
from chainrule.inspection.summary import Summary, summary
from chainrule.inspection.surface import SURFACES, Race, Surface, loss_surface

__all__ = [
    "METHODS",
    "SURFACES",
    "Drawing",
    "Finding",
    "IntegratedGradients",
    "Limits",
    "Look",
    "Measurement",
    "Method",
    "Monitor",
    "Patch",
    "Picture",
    "Race",
    "Regions",
    "Summary",
    "Surface",
    "activation_grid",
    "activation_maximization",
    "circuit",
    "class_image",
    "deconvnet",
    "deep_bound",
    "deep_dream",
    "draw",
    "embedding_figure",
    "embeddings",
    "explain",
    "figure_png",
    "filter_grid",
    "find_layer",
    "grad_cam",
    "gram_matrix",
    "grid_numbers",
    "guided_backprop",
    "image_figure",
    "image_grid",
    "image_png",
    "integrated_gradients",
    "last_maps",
    "linear_regions",
    "look",
    "loss_surface",
    "monitor",
    "occlusion",
    "pca",
    "saliency",
    "show_attribution",
    "style_transfer",
    "summary",
    "top_patches",
    "tsne",
    "watching",
    "zaslavsky",
]
