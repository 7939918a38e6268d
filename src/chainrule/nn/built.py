"""The making of modules: each with a random stream of its own, and a signature for help()."""

from __future__ import annotations

import inspect
from typing import Any

from chainrule.engine.random import construction


class _Built(type):
    """Gives every module under construction a random stream of its own; see engine.random."""

    def __call__(cls, *args: Any, **options: Any) -> Any:
        """Construct one, with the stream open."""
        with construction():
            return super().__call__(*args, **options)

    @property
    def __signature__(cls) -> inspect.Signature:
        """The constructor's signature, which `__call__` would hide from help()."""
        declared: inspect.Signature | None = getattr(cls, "_signature", None)
        if declared is not None:
            return declared
        own = inspect.signature(cls.__init__)  # type: ignore[misc]
        return own.replace(parameters=list(own.parameters.values())[1:])
