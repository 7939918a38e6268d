"""Looking at networks: what they are made of and cost, and the pictures that they make."""

from chainrule.inspection.canvas import Picture
from chainrule.inspection.dream import deep_dream
from chainrule.inspection.embeddings import embeddings, pca, tsne
from chainrule.inspection.figures import embedding_figure, image_figure, image_png
from chainrule.inspection.grids import activation_grid, filter_grid, image_grid
from chainrule.inspection.maximisation import activation_maximization, class_image
from chainrule.inspection.patches import Patch, top_patches
from chainrule.inspection.style import gram_matrix, style_transfer
from chainrule.inspection.summary import Summary, summary

__all__ = [
    "Patch",
    "Picture",
    "Summary",
    "activation_grid",
    "activation_maximization",
    "class_image",
    "deep_dream",
    "embedding_figure",
    "embeddings",
    "filter_grid",
    "gram_matrix",
    "image_figure",
    "image_grid",
    "image_png",
    "pca",
    "style_transfer",
    "summary",
    "top_patches",
    "tsne",
]
