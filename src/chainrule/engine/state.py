"""State that follows the thread: whether gradients are recorded, watched, traced."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator
from contextvars import ContextVar, Token
from typing import Any, Protocol

GRAD: ContextVar[bool] = ContextVar("chainrule_grad", default=True)
ANOMALY: ContextVar[bool] = ContextVar("chainrule_anomaly", default=False)
INFERENCE: ContextVar[bool] = ContextVar("chainrule_inference", default=False)
DEVICE: ContextVar[str | None] = ContextVar("chainrule_device", default=None)
LAYER: ContextVar[str] = ContextVar("chainrule_layer", default="")  # the path, while traced


class Tracer(Protocol):
    """What records the operations that run; see `engine.capture`."""

    def record(self, op: Any, run: Any, inputs: Any, outputs: Any) -> None:
        """Note one operation that ran; `run` is its kernel and what that saved."""

    def leak(self, tensor: Any, how: str) -> None:
        """Note that a value left the graph as a plain number or array."""

    def drew(self) -> None:
        """Note that random numbers were drawn."""

    def follows(self, value: Any) -> bool:
        """Tell whether the value is an input or was computed from one."""


TRACER: ContextVar[Tracer | None] = ContextVar("chainrule_tracer", default=None)
WATCHER: ContextVar[Callable[..., None] | None] = ContextVar("chainrule_watcher", default=None)
"""Who is told (op, inputs, outputs) of every operation that ran, and only looks: unlike a tracer it
changes nothing of what is computed, in place or not."""


class _Mode:
    """A context manager and decorator that sets one ContextVar and restores it."""

    def __init__(self, variable: ContextVar[bool], value: bool) -> None:
        self._variable, self._value = variable, value
        self._tokens: list[Token[bool]] = []

    def __enter__(self) -> Any:
        self._tokens.append(self._variable.set(_allowed(self._variable, self._value)))
        return self

    def __exit__(self, *exc: object) -> None:
        self._variable.reset(self._tokens.pop())

    def again(self) -> _Mode:
        """Give the same mode, to be entered anew."""
        return _Mode(self._variable, self._value)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Run a function's calls in this mode; of a generator all that runs between its yields."""

        @functools.wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            with self.again():
                result = function(*args, **options)
            return _stepped(result, self) if generates else result

        generates = inspect.isgeneratorfunction(function)
        return call


class _Inference(_Mode):
    """The mode of `inference_mode`: no graph, and INFERENCE says so."""

    def __init__(self, value: bool) -> None:
        super().__init__(INFERENCE, value)
        self._grad: list[Token[bool]] = []

    def __enter__(self) -> Any:
        self._tokens.append(INFERENCE.set(self._value))
        self._grad.append(GRAD.set(not self._value))
        return self

    def __exit__(self, *exc: object) -> None:
        GRAD.reset(self._grad.pop())
        INFERENCE.reset(self._tokens.pop())

    def again(self) -> _Mode:
        """Give the same mode, to be entered anew."""
        return _Inference(self._value)


def _allowed(variable: ContextVar[bool], value: bool) -> bool:
    """Give the value that a mode may have: inside `inference_mode` no graph is recorded."""
    return value and not (variable is GRAD and INFERENCE.get())


def _stepped(inner: Any, mode: _Mode) -> Generator[Any, Any, Any]:
    """Set the mode while the generator runs, and give the caller's back at every yield."""
    resume, sent = inner.send, None
    try:
        while True:
            with mode.again():
                try:
                    item = resume(sent)
                except StopIteration as end:
                    return end.value
            try:
                resume, sent = inner.send, (yield item)
            except GeneratorExit:
                raise
            except BaseException as error:
                resume, sent = inner.throw, error
    finally:
        with mode.again():
            inner.close()


def _mode(variable: ContextVar[bool], value: bool, function: Callable[..., Any] | None) -> Any:
    mode = _Mode(variable, value)
    return mode if function is None else mode(function)


def no_grad(function: Callable[..., Any] | None = None) -> Any:
    """Record no graph inside: `with no_grad():`, or as a decorator.

    >>> import chainrule as cr
    >>> x = cr.tensor([1.0], requires_grad=True)
    >>> with cr.no_grad():
    ...     (2 * x).requires_grad
    False
    """
    return _mode(GRAD, False, function)


def enable_grad(function: Callable[..., Any] | None = None) -> Any:
    """Record the graph inside, also within `no_grad`.

    >>> import chainrule as cr
    >>> x = cr.tensor([1.0], requires_grad=True)
    >>> with cr.no_grad(), cr.enable_grad():
    ...     (2 * x).requires_grad
    True
    """
    return _mode(GRAD, True, function)


class set_grad_enabled:
    """Switch the recording of graphs on or off, at once; as a context manager until its end.

    As a decorator it leaves the mode as it was and sets it in the function's calls.

    >>> import chainrule as cr
    >>> with cr.set_grad_enabled(False):
    ...     cr.is_grad_enabled()
    False
    """

    def __init__(self, mode: bool) -> None:
        self._mode = bool(mode)
        self._token = GRAD.set(_allowed(GRAD, self._mode))

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Leave the mode as it was; set it in the function's calls."""
        GRAD.reset(self._token)
        return _Mode(GRAD, self._mode)(function)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: object) -> None:
        GRAD.reset(self._token)


def inference_mode(mode: Any = True) -> Any:
    """Record no graph inside, whatever is asked for: `with inference_mode():`, or as a decorator.

    Inside, `enable_grad` has no effect.  With `mode` False graphs are recorded, as PyTorch has it.

    >>> import chainrule as cr
    >>> x = cr.tensor([1.0], requires_grad=True)
    >>> with cr.inference_mode(), cr.enable_grad():
    ...     (2 * x).requires_grad
    False
    >>> @cr.inference_mode
    ... def double(x):
    ...     return 2 * x
    >>> double(x).requires_grad
    False
    """
    return _Inference(True)(mode) if callable(mode) else _Inference(bool(mode))


def is_inference_mode_enabled() -> bool:
    """Tell whether this thread is inside `inference_mode`.

    >>> import chainrule as cr
    >>> with cr.inference_mode():
    ...     cr.is_inference_mode_enabled()
    True
    """
    return INFERENCE.get()


def is_grad_enabled() -> bool:
    """Tell whether operations record a graph in this thread.

    >>> import chainrule as cr
    >>> cr.is_grad_enabled()
    True
    """
    return GRAD.get()


def detect_anomaly(function: Callable[..., Any] | None = None) -> Any:
    """Watch every operation inside and stop at the first NaN or infinity it makes.

    The AnomalyError names the operation, forward or backward, and the line that called it.
    The forward must run inside too for a backward to know its line.  References run here,
    never a fast backend.

    >>> import chainrule as cr
    >>> with cr.detect_anomaly():
    ...     cr.sqrt(cr.tensor([-1.0]))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    chainrule.errors.AnomalyError: forward of Sqrt() gave 1 value that is not finite, called ...
    """
    return _mode(ANOMALY, True, function)
