"""Programs on oneDNN: a network as a list of calls on one piece of memory."""

from chainrule.backends.onednn.inference import conv, dense, pointwise, pool  # noqa: F401
