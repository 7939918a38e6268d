"""Backends: found by name, chosen in one place, counted."""

from __future__ import annotations

import importlib
import sys
import threading
import time
import types
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine import dispatch
from chainrule.engine.dispatch import Backend, Overlay, running_on
from chainrule.engine.op import OPS
from chainrule.errors import BackendError


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Backend:
    """A backend named 'toy' whose addition of float32 counts, and keeps its own saved state."""
    cr.add  # noqa: B018 - loads the operations
    backend = Backend("toy")

    @backend.kernel(OPS["Add"])
    class Pair:
        def supports(self, op: Any, arrays: Any) -> bool:
            return all(a.dtype == np.float32 for a in arrays)

        def forward(self, op: Any, arrays: Any) -> Any:
            return (arrays[0] + arrays[1],), "mine"

        def backward(self, op: Any, saved: Any, gy: Any, needs: Any) -> Any:
            assert saved == "mine"
            return tuple(gy * 100 if need else None for need in needs)

    module = types.ModuleType("chainrule.backends.toy")
    module.BACKEND = backend  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "chainrule.backends", types.ModuleType("chainrule.backends"))
    monkeypatch.setitem(sys.modules, "chainrule.backends.toy", module)
    return backend


def run() -> float:
    x = cr.tensor([1.0], requires_grad=True)
    (x + x.detach()).sum().backward()
    return x.grad.item()


def test_a_pair_runs_forward_and_the_same_one_backward(toy: Backend) -> None:
    with cr.use_backend("toy"):
        assert run() == 100
    assert toy.calls["Add"] == 1
    assert run() == 1


def test_the_backward_asks_the_kernel_that_ran_forward(toy: Backend) -> None:
    x = cr.tensor([1.0], requires_grad=True)
    with cr.use_backend("toy"):
        y = x + x.detach()
    y.backward()
    assert x.grad.item() == 100


def test_what_no_pair_supports_runs_on_the_reference(toy: Backend) -> None:
    with cr.use_backend("toy"):
        x = cr.tensor([1.0], dtype=cr.float64, requires_grad=True)
        (x + x.detach()).backward()
        assert x.grad.item() == 1
    assert toy.calls["Add"] == 0


def test_detect_anomaly_runs_the_references(toy: Backend) -> None:
    with cr.use_backend("toy"), cr.detect_anomaly():
        assert run() == 1


def test_in_a_with_the_choice_is_this_threads_else_the_processs(toy: Backend) -> None:
    seen: list[str] = []

    def look() -> None:
        seen.append(cr.current_backend().name)

    with cr.use_backend("toy"):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    before = cr.current_backend().name
    cr.use_backend("toy")
    try:
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    finally:
        cr.use_backend(before)
    assert seen == [before, "toy"]


def test_an_unknown_backend_is_named() -> None:
    with pytest.raises(ValueError, match="nowhere"):
        cr.use_backend("nowhere")


# The choice that nobody made


@pytest.fixture
def undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process in which no operation has run yet, and in which no variable asks for anything."""
    monkeypatch.setattr(dispatch, "_Process", type("_Process", (dispatch._Process,), {}))
    dispatch._Process.backend = None
    monkeypatch.delenv(dispatch.VARIABLE, raising=False)


def entering(name: str, events: list[str]) -> Backend:
    class Entering(Backend):
        def enter(self) -> None:
            events.append(f"enter {self.name}")

        def leave(self) -> None:
            events.append(f"leave {self.name}")

    return Entering(name)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Backends by name, or the error that asking for one raises; none by any other name."""
    backends: dict[str, Any] = {}
    real = importlib.import_module

    def load(folder: str) -> Any:
        if not folder.startswith("chainrule.backends."):
            return real(folder)
        backend = backends.get(folder.rpartition(".")[2])
        if backend is None:
            raise ModuleNotFoundError(f"No module named {folder!r}", name=folder)
        if isinstance(backend, ImportError):
            raise backend
        return Folder(backend)

    class Folder:
        def __init__(self, backend: Any) -> None:
            self.backend = backend

        @property
        def BACKEND(self) -> Any:
            if isinstance(self.backend, Exception):
                raise self.backend
            return self.backend

    monkeypatch.setattr(dispatch.importlib, "import_module", load)
    return backends


@pytest.fixture
def warned() -> Iterator[list[warnings.WarningMessage]]:
    """Every warning, also those that come twice from one line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


@pytest.mark.usefixtures("undecided")
def test_the_fast_backend_serves_where_it_can_be_had(found: dict[str, Any]) -> None:
    events: list[str] = []
    found["onednn"] = entering("onednn", events)
    assert cr.current_backend() is found["onednn"]
    assert cr.current_backend() is found["onednn"]
    assert events == ["enter onednn"]


@pytest.mark.usefixtures("undecided")
@pytest.mark.parametrize(
    "error",
    [
        BackendError("no libdnnl.so.3 was found"),
        ModuleNotFoundError("no libdnnl.so.3: No module named '_ctypes'", name="_ctypes"),
        ImportError("no libdnnl.so.3: libffi.so.8: cannot open", name="_ctypes"),
    ],
)
def test_numpy_serves_elsewhere_with_one_warning(
    found: dict[str, Any], warned: list[warnings.WarningMessage], error: Exception
) -> None:
    found["onednn"] = error
    assert cr.current_backend().name == "numpy"
    assert (cr.tensor([1.0]) + 1).item() == 2
    (warning,) = warned
    assert warning.category is RuntimeWarning
    assert "run on NumPy" in str(warning.message)
    assert "no libdnnl.so.3" in str(warning.message)
    with pytest.raises(BackendError, match=r"no libdnnl\.so\.3"):
        cr.use_backend("onednn")
    assert cr.current_backend().name == "numpy"


@pytest.mark.usefixtures("undecided")
def test_threads_that_come_at_once_agree_with_one_warning(
    found: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    warned: list[warnings.WarningMessage],
) -> None:
    inside, answers, load = threading.Event(), [], dispatch.importlib.import_module
    found["onednn"] = BackendError("none")

    def slowly(folder: str) -> Any:
        inside.set()
        time.sleep(0.05)  # long enough for the others to arrive at the same question
        return load(folder)

    def ask() -> None:
        answers.append(cr.current_backend())

    monkeypatch.setattr(dispatch.importlib, "import_module", slowly)
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
        inside.wait()
    for thread in threads:
        thread.join()
    assert len(warned) == 1
    assert [backend.name for backend in answers] == ["numpy"] * 4


@pytest.mark.usefixtures("undecided")
def test_the_variable_names_another(
    found: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    warned: list[warnings.WarningMessage],
) -> None:
    events: list[str] = []
    found["onednn"] = BackendError("not asked")
    found["other"] = entering("other", events)
    monkeypatch.setenv(dispatch.VARIABLE, " other ")
    assert cr.current_backend() is found["other"]
    assert events == ["enter other"]
    dispatch._Process.backend = None
    monkeypatch.setenv(dispatch.VARIABLE, "numpy")
    assert cr.current_backend().name == "numpy"
    assert not warned


@pytest.mark.usefixtures("undecided")
@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("nowhere", ValueError, "CHAINRULE_BACKEND: no backend is named 'nowhere'"),
        ("../x", ValueError, r"CHAINRULE_BACKEND: expected the name of a backend, got '\.\./x'"),
        ("onednn", BackendError, "too old"),  # who asks for it by name gets no substitute
    ],
)
def test_a_variable_that_cannot_be_obeyed_is_an_error(
    found: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    error: type[Exception],
    said: str,
) -> None:
    found["onednn"] = BackendError("too old")
    monkeypatch.setenv(dispatch.VARIABLE, name)
    for _ in range(2):  # and stays one
        with pytest.raises(error, match=said):
            cr.tensor([1.0]) + 1


@pytest.mark.usefixtures("undecided")
def test_a_with_before_the_first_choice_leaves_it_open(found: dict[str, Any]) -> None:
    events: list[str] = []
    found["onednn"], found["other"] = entering("onednn", events), entering("other", events)
    with cr.use_backend("other"):
        assert cr.current_backend().name == "other"
    assert dispatch._Process.backend is None
    assert cr.current_backend().name == "onednn"
    assert events[-1] == "enter onednn"
    assert events.count("enter other") == events.count("leave other")


@pytest.mark.usefixtures("undecided")
def test_one_backend_leaves_before_the_next_enters(found: dict[str, Any]) -> None:
    events: list[str] = []
    found["onednn"], found["other"] = entering("onednn", events), entering("other", events)
    for name in ("onednn", "onednn", "other", "numpy"):
        cr.use_backend(name)
        assert cr.current_backend().name == name
    assert events == ["enter onednn", "leave onednn", "enter other", "leave other"]


def test_an_overlay_replaces_pairs_and_leaves_all_else_to_its_base(toy: Backend) -> None:
    overlay = Overlay("other", toy)

    @overlay.kernel(OPS["Mul"])
    class Pair:
        def supports(self, op: Any, arrays: Any) -> bool:
            return True

        def forward(self, op: Any, arrays: Any) -> Any:
            return (arrays[0] * arrays[1],), None

        def backward(self, op: Any, saved: Any, gy: Any, needs: Any) -> Any:
            return (gy * 7, None)

    x = cr.tensor([1.0], requires_grad=True)
    with running_on(overlay), cr.detect_anomaly():
        y = x * cr.tensor([2.0])
    y.backward()  # the node keeps the pair, whatever runs now
    assert x.grad.tolist() == [7.0]
    with running_on(overlay):
        assert cr.current_backend() is overlay
        assert run() == 100
    with pytest.raises(ZeroDivisionError), running_on(overlay):
        _ = 1 / 0
    assert cr.current_backend() is not overlay
    assert toy.calls["Add"] == 1


def test_an_overlay_adds_copies_and_updates_as_its_base() -> None:
    asked: list[str] = []

    class Base(Backend):
        def __getattribute__(self, name: str) -> Any:
            if name in ("run", "add", "copy", "update", "finite"):
                return lambda *_: asked.append(name) or name
            return super().__getattribute__(name)

    overlay: Any = Overlay("other", Base("base"))
    given = {"run": 2, "add": 2, "copy": 2, "update": 4, "finite": 1}
    assert [getattr(overlay, name)(*range(n)) for name, n in given.items()] == list(given)
    assert asked == list(given)
