"""Where tensors are made: with their data, or as shapes alone."""

from __future__ import annotations

from contextvars import Token

from chainrule.engine import state

_KINDS = ("cpu", "meta", "cuda", "mps", "xpu")


def names_device(value: object) -> bool:
    """Tell whether a first argument of `to` is a device rather than a dtype: "cuda:0", say."""
    return isinstance(value, str) and value.partition(":")[0] in _KINDS


def chosen_device(device: str | None) -> str:
    """Give the device on which a tensor is made: the one asked for, else that of `cr.device`."""
    if device not in (None, "cpu", "meta"):
        raise NotImplementedError(
            f"device: expected 'cpu' or 'meta' (shapes without data), got {device!r}; "
            "no backend here brings another"
        )
    return device or state.DEVICE.get() or "cpu"


class device(str):
    """A device's name, and within `with` the one on which tensors and layers are made.

    On "meta" they have shapes and no values: a network of any size is there at once, takes no
    memory, and tells the shapes of all it would compute.  Raises NotImplementedError for others
    than "cpu" and "meta".

    >>> import chainrule as cr
    >>> with cr.device("meta"):
    ...     layer = cr.nn.Linear(100_000, 100_000)
    >>> layer.weight.device, layer(cr.zeros(2, 100_000, device="meta")).shape
    ('meta', (2, 100000))
    """

    __slots__ = ("_tokens",)
    _tokens: list[Token[str | None]]

    def __new__(cls, type: str = "cpu") -> device:
        """Check the name."""
        chosen_device(str(type))
        made = super().__new__(cls, type)
        made._tokens = []
        return made

    @property
    def type(self) -> str:
        """The name."""
        return str(self)

    def __enter__(self) -> device:
        self._tokens.append(state.DEVICE.set(str(self)))
        return self

    def __exit__(self, *exc: object) -> None:
        state.DEVICE.reset(self._tokens.pop())
