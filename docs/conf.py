"""How the documentation is built: `make docs` calls Sphinx, nitpicky, with warnings as errors."""

import sys
from pathlib import Path

import chainrule

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "chainrule"
author = "chainrule contributors"
copyright = f"2026, {author}"
version = release = chainrule.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "reference",  # ours: writes the pages of the reference
]
exclude_patterns = ["extensions"]
nitpicky = True

myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3

autodoc_typehints = "none"  # shapes and kinds are in the words of each docstring
autodoc_member_order = "bysource"
# What is documented elsewhere.
nitpick_ignore = [
    ("py:class", name)
    for name in (
        *("numpy.ndarray", "numpy.dtype"),
        *(
            f"collections.abc.{name}"
            for name in ("Callable", "Iterable", "Iterator", "Mapping", "Sequence")
        ),
    )
]
default_role = "code"

html_theme = "furo"
html_title = f"chainrule {version}"
