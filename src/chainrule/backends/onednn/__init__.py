"""oneDNN behind the operations: float32, forward and backward, activations channels-last.

`BACKEND` is there where a library was found that serves; elsewhere asking for it raises
BackendError with the reason.  `about` tells what was found, whether or not it serves, and
`about_kernels` the same of the kernels of our own.
"""

from typing import Any

from chainrule.backends.onednn.backend import ONEDNN
from chainrule.backends.onednn.library import about, search
from chainrule.backends.onednn.own import have_kernels
from chainrule.backends.onednn.runtime import about_kernels, start
from chainrule.errors import BackendError

__all__ = ["BACKEND", "about", "about_kernels"]

_found = search()
if _found.library is not None:
    start(_found.library)

    # The kernel files register their pairs when they are loaded: the library's first...
    from chainrule.backends.onednn import (  # noqa: F401
        activation,
        arithmetic,
        conv,
        dense,
        join,
        norm,
        norm_rows,
        pool,
        prelu,
        resample,
        shuffle,
        softmax,
    )

    # ...then ours, which take their places; and programs, which our kernels run.
    if have_kernels():
        from chainrule.backends.onednn import (  # noqa: F401
            curves,
            distance,
            dropout,
            elementwise,
            grid_sample,
            lookup,
            losses,
            norm_images,
            order,
            pieces,
            pool_adaptive,
            reduction,
            row_loss,
            rows,
            scan,
            taps,
        )
        from chainrule.backends.onednn.inference import compiled

        ONEDNN.run_compiled = compiled.run

    BACKEND = ONEDNN


def __getattr__(name: str) -> Any:
    """Say why there is no BACKEND."""
    if name == "BACKEND":
        raise BackendError(_found.reason)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
