"""Which compiled kernels are used, and what is said of those that cannot be."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chainrule.backends.onednn.library import search
from chainrule.errors import BackendError
from chainrule.native import library
from chainrule.native.library import ABI, FOLDER, NAME, VARIABLE, Found, Kernels, find
from chainrule.native.sources import digest

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="names of Linux")
AVX2, AVX512 = 0x7, 0x27

ENTRY = ctypes.CFUNCTYPE(None)(lambda: None)
OTHER_ENTRY = ctypes.CFUNCTYPE(None)(lambda: None)


class Symbol:
    """A C function, as far as its types are asked."""

    argtypes: Any = None
    restype: Any = ctypes.c_int


class Fake(SimpleNamespace):
    """A library that was loaded: what it tells of itself, and its functions by index."""

    def __init__(self, abi: int = ABI, sources: str = "", level: int = 4) -> None:
        super().__init__(
            chainrule_abi=lambda: abi,
            chainrule_sources=lambda: sources.encode(),
            chainrule_level=lambda: level,
            chainrule_start=lambda *pointers: self.started.append(pointers),
            chainrule_settle=lambda threads: None,
            chainrule_program=lambda *_: 0,
        )
        self.started: list[Any] = []

    def __getitem__(self, symbol: str) -> Symbol:
        if symbol.startswith("chainrule_known_"):
            return Symbol()  # a new one each time, as ctypes does
        raise AttributeError(f"undefined symbol: {symbol}")


class OneDNN(SimpleNamespace):
    """The handle of a libdnnl, through which its OpenMP is reached."""

    def __init__(self, **without: None) -> None:
        entries = {"GOMP_parallel": ENTRY, "omp_get_thread_num": OTHER_ENTRY}
        super().__init__(**{name: e for name, e in entries.items() if name not in without})


Install = Callable[[Fake], Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Let an empty folder be the package's; then put a library there, which loads as is given."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(library, "FOLDER", tmp_path)

    def put(fake: Fake) -> Path:
        (tmp_path / NAME).touch()
        monkeypatch.setattr(ctypes, "CDLL", lambda path, mode: fake)
        return tmp_path / NAME

    return put


def refusal(found: Found) -> str:
    assert found.kernels is None
    assert found.reason
    return found.reason


# What serves


def test_the_kernels_are_started_on_the_threads_of_onednn(install: Install) -> None:
    fake = Fake()
    path = install(fake)
    kernels, reason = find(OneDNN(), AVX512)
    assert kernels is not None
    assert (kernels.path, kernels.isa, reason) == (str(path), "avx512", "")
    addresses = [ctypes.cast(entry, ctypes.c_void_p).value for entry in (ENTRY, OTHER_ENTRY)]
    ((parallel, number),) = fake.started
    assert [parallel.value, number.value] == addresses
    assert fake.chainrule_start.argtypes == (ctypes.c_void_p, ctypes.c_void_p)


@pytest.mark.parametrize(
    ("bits", "level", "isa"),
    [
        (0x7, 4, "avx2"),  # capped by ONEDNN_MAX_CPU_ISA
        (0xF, 4, "avx2"),
        (0x1F, 3, "avx2"),
        (0x27, 4, "avx512"),
        (0x27, 3, "avx2"),  # AVX-512 without a part that the compiler may use
        (0xFEF, 4, "avx512"),
        (0x21FF, 4, "avx512"),
    ],
)
def test_the_instruction_set(install: Install, bits: int, level: int, isa: str) -> None:
    install(Fake(level=level))
    kernels = find(OneDNN(), bits).kernels
    assert kernels is not None
    assert kernels.isa == isa


@pytest.mark.parametrize(
    ("bits", "level", "said"),
    [
        (0x0, 4, r"AVX2 is needed, and oneDNN uses less here \(0x0\)"),
        (0x3, 4, r"AVX2 is needed, and oneDNN uses less here \(0x3\)"),
        (0x20, 4, "AVX2 is needed"),
        (0x7, 0, "lacks FMA or another instruction that comes with AVX2"),
        (0x27, 0, "lacks FMA"),
    ],
)
def test_processors_that_do_not_serve(install: Install, bits: int, level: int, said: str) -> None:
    fake = Fake(level=level)
    install(fake)
    assert re.search(said, refusal(find(OneDNN(), bits)))
    assert not fake.started


# What is refused


def test_an_installation_without_kernels(install: Install, tmp_path: Path) -> None:
    reason = refusal(find(OneDNN(), AVX2))
    assert "this installation has no compiled kernels" in reason
    assert str(tmp_path / NAME) in reason
    assert "on Linux with glibc and an x86-64 processor" in reason


def test_a_file_that_cannot_be_loaded(install: Install, tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("not a library, and long enough to have had a header" * 9)
    reason = refusal(find(OneDNN(), AVX2))
    assert f"{NAME} cannot be loaded: " in reason
    assert reason.count(str(tmp_path)) == 1


@LINUX
def test_another_library_of_that_name(install: Install, tmp_path: Path) -> None:
    maths = next(Path("/").glob("lib*/**/libm.so.6"), None)
    if maths is None:
        pytest.skip("no libm.so.6 by that name")
    (tmp_path / NAME).symlink_to(maths)
    reason = refusal(find(OneDNN(), AVX2))
    assert "is not the kernels' library" in reason
    assert "chainrule_abi" in reason


@pytest.mark.parametrize("abi", [ABI - 1, ABI + 1])
def test_another_interface(install: Install, abi: int) -> None:
    fake = Fake(abi=abi)
    install(fake)
    reason = refusal(find(OneDNN(), AVX2))
    assert f"has interface {abi}; {ABI} is needed; `pip install -e .`" in reason
    assert not fake.started


def test_in_a_checkout_the_sources_must_be_those_it_was_built_from(
    install: Install, tmp_path: Path
) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "start.c").write_text("int x;")
    install(Fake(sources=digest(folder)))
    assert find(OneDNN(), AVX2).kernels
    (folder / "start.c").write_text("int y;")
    reason = refusal(find(OneDNN(), AVX2))
    assert f"built from other sources than {folder}; `pip install -e .` builds" in reason
    (folder / "start.c").unlink()
    folder.rmdir()  # as in a wheel: nothing to compare with
    assert find(OneDNN(), AVX2).kernels


@pytest.mark.parametrize(
    ("without", "said"),
    [
        ({"GOMP_parallel": None}, "gives no GOMP_parallel, on"),
        ({"omp_get_thread_num": None}, "gives no omp_get_thread_num, on"),
        (
            {"GOMP_parallel": None, "omp_get_thread_num": None},
            "gives no GOMP_parallel and no omp_get_thread_num, on",
        ),
    ],
)
def test_an_openmp_without_the_entry_points(
    install: Install, without: dict[str, None], said: str
) -> None:
    fake = Fake()
    install(fake)
    assert said in refusal(find(OneDNN(**without), AVX2))
    assert not fake.started


# The variable


@pytest.mark.parametrize("value", ["0", "off", " OFF "])
def test_switched_off(install: Install, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    fake = Fake()
    install(fake)
    monkeypatch.setenv(VARIABLE, value)
    assert refusal(find(OneDNN(), AVX2)) == f"{VARIABLE}={value.strip()} keeps them out of use"
    assert not fake.started


@pytest.mark.parametrize("value", ["", " ", "1", "on", "On"])
def test_switched_on(install: Install, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    install(Fake())
    monkeypatch.setenv(VARIABLE, value)
    assert find(OneDNN(), AVX2).kernels


@pytest.mark.parametrize("value", ["no", "2", "avx2", "off,"])
def test_nonsense(install: Install, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    install(Fake())
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(BackendError, match=f"{VARIABLE}: expected 0 or off .* got value '{value}'"):
        find(OneDNN(), AVX2)


# Functions


def test_functions_by_name_and_types() -> None:
    kernels = Kernels("/x/libchainrule.so", "avx2", Fake())
    types = (ctypes.c_void_p, ctypes.c_long)
    first = kernels.function("known", *types)
    assert first.argtypes == types
    assert first.restype is None
    assert kernels.function("known", *types) is first
    other = kernels.function("known", ctypes.c_float)
    assert (first.argtypes, other.argtypes) == (types, (ctypes.c_float,))
    sized = kernels.function("known", *types, result=ctypes.c_long)
    assert (sized.restype, first.restype) == (ctypes.c_long, None)
    with pytest.raises(BackendError, match=r"/x/libchainrule.so has no function chainrule_new_av"):
        kernels.function("new")


# Sources


def test_the_hash_knows_names_and_text_of_what_is_compiled(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text("ab")
    (tmp_path / "b.h").write_text("c")
    seen = {digest(tmp_path)}
    (tmp_path / "notes.txt").write_text("not compiled")
    assert digest(tmp_path) in seen
    for change in (
        lambda: (tmp_path / "a.c").write_text("ba"),
        lambda: (tmp_path / "b.h").write_text("d"),
        lambda: (tmp_path / "b.h").rename(tmp_path / "c.h"),
        lambda: (tmp_path / "d.c").touch(),
        lambda: (tmp_path / "d.c").unlink() or (tmp_path / "c.h").unlink(),
    ):
        change()
        assert digest(tmp_path) not in seen
        seen.add(digest(tmp_path))


def test_both_sides_have_one_interface() -> None:
    start = FOLDER / "source" / "start.c"
    if not start.is_file():
        pytest.skip("no checkout")
    (number,) = re.findall(r"^#define CHAINRULE_ABI (\d+)$", start.read_text("utf-8"), re.M)
    assert int(number) == ABI


# For real


def test_the_installation_built_them() -> None:
    """Where they can be built and oneDNN serves, they serve: no test skips them unnoticed."""
    found = search().library
    if (platform.system(), platform.machine(), platform.libc_ver()[0]) != (
        *("Linux", "x86_64"),
        "glibc",
    ):
        pytest.skip("they are not built for this platform")
    if found is None or os.environ.get(VARIABLE, "").strip().lower() in ("0", "off"):
        pytest.skip("oneDNN does not serve, or the kernels are switched off")
    bits = int(found.functions.dnnl_get_effective_cpu_isa())
    kernels, reason = find(found.functions, bits)
    assert kernels is not None, reason
    assert kernels.path == str(FOLDER / NAME)
    assert kernels.isa == ("avx512" if bits & AVX512 == AVX512 else "avx2")
    with pytest.raises(BackendError, match=f"no function chainrule_nothing_{kernels.isa}"):
        kernels.function("nothing")
