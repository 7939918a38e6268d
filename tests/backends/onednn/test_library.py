"""Which libdnnl is taken, and what is said of those that cannot be: by pretending, and for real."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from chainrule.backends.onednn import about, library
from chainrule.backends.onednn.library import (
    VARIABLE,
    Library,
    Refused,
    Search,
    candidates,
    check,
    file_name,
    find,
    isa_name,
    named_version,
    open_library,
    places,
    search,
    wheel_file,
)
from chainrule.errors import BackendError

OPENMP = 2
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="names of Linux")
X86 = platform.machine().lower() in ("x86_64", "amd64")
SERVES = pytest.mark.skipif(search().library is None, reason="no library serves here")


def lay(folder: Path, name: str | None = None, text: str = "") -> Path:
    """Put a file of that name; what it holds is never read by those who pretend."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (name or file_name())
    path.write_text(text)
    return path


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the search see these folders and no others, and no wheel."""
    for name in (VARIABLE, "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(library, "wheel_file", lambda: None)

    def look(*folders: Path) -> None:
        monkeypatch.setattr(library, "places", lambda: iter(folders))

    return look


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Let `open_library` give these versions, or raise these reasons; tell what was opened."""
    opened: list[str] = []

    def contents(given: dict[Path, tuple[int, int, int] | str]) -> list[str]:
        def open_(path: Path) -> Library:
            opened.append(str(path))
            found = given[path]
            if isinstance(found, str):
                raise BackendError(found)
            return Library(None, str(path), found, "AVX2")

        monkeypatch.setattr(library, "open_library", open_)
        return opened

    return contents


def taken(found: Search) -> str:
    assert found.library is not None, found
    return found.library.path


# Which one is taken


def test_the_newest_is_taken_wherever_it_lies(only: Any, pretend: Any, tmp_path: Path) -> None:
    wheel, conda, system = (lay(tmp_path / name) for name in ("wheel", "conda", "system"))
    only(wheel.parent, conda.parent, system.parent)
    pretend({wheel: (3, 2, 0), conda: (3, 4, 1), system: (3, 10, 0)})
    found = find()
    assert taken(found) == str(system)  # 3.10 is newer than 3.4
    assert {path for path, _ in found.refused} == {str(wheel), str(conda)}
    assert all("not newer than the 3.10.0" in reason for _, reason in found.refused)


def test_among_equals_the_environments_wins(only: Any, pretend: Any, tmp_path: Path) -> None:
    first, second = lay(tmp_path / "first"), lay(tmp_path / "second")
    only(first.parent, second.parent)
    pretend({first: (3, 5, 1), second: (3, 5, 1)})
    assert taken(find()) == str(first)
    only(second.parent, first.parent)
    assert taken(find()) == str(second)


def test_the_next_newest_serves_where_the_newest_does_not(
    only: Any, pretend: Any, tmp_path: Path
) -> None:
    files = [lay(tmp_path / name) for name in ("a", "b", "c")]
    only(*[file.parent for file in files])
    pretend({files[0]: (3, 2, 0), files[1]: (3, 3, 0), files[2]: "it wants a newer glibc"})
    found = find()
    assert taken(found) == str(files[1])
    assert Refused(str(files[2]), "it wants a newer glibc") in found.refused
    assert found.reason == ""


@LINUX
def test_what_the_name_tells_is_not_asked_again(only: Any, pretend: Any, tmp_path: Path) -> None:
    old, new = (lay(tmp_path / v, f"libdnnl.so.3.{v}") for v in ("2", "6"))
    links = [file.parent / file_name() for file in (old, new)]
    for link, file in zip(links, (old, new), strict=True):
        link.symlink_to(file.name)
    only(*[link.parent for link in links])
    opened = pretend({links[1]: (3, 6, 2)})
    assert taken(find()) == str(links[1])
    assert opened == [str(links[1])]
    assert [path for path, _ in find().refused] == [str(links[0])]


@LINUX
def test_a_name_of_the_same_version_does_not_pass_the_environments(
    only: Any, pretend: Any, tmp_path: Path
) -> None:
    here, there = lay(tmp_path / "here"), tmp_path / "there" / file_name()
    there.parent.mkdir()
    there.symlink_to(lay(tmp_path / "there", "libdnnl.so.3.2").name)
    for order in ((here, there), (there, here)):
        only(*[path.parent for path in order])
        pretend({here: (3, 2, 0), there: (3, 2, 0)})
        assert taken(find()) == str(order[0])


@LINUX
def test_versions_in_names(tmp_path: Path) -> None:
    file = lay(tmp_path)
    assert named_version(file) is None
    lay(tmp_path, "libdnnl.so", "another size")
    lay(tmp_path, "libdnnl.so.3.9", "another size")
    lay(tmp_path, "libdnnl.so.3.x")
    assert named_version(file) is None
    lay(tmp_path, "libdnnl.so.3.2")  # a copy, as the wheel holds
    assert named_version(file) == (3, 2)
    assert named_version(lay(tmp_path, "libdnnl.so.3.11.2")) == (3, 11, 2)
    assert named_version(lay(tmp_path, "libdnnl.3.4.dylib")) == (3, 4)


def test_one_file_by_several_ways_is_one_candidate(only: Any, tmp_path: Path) -> None:
    file = lay(tmp_path / "lib")
    (tmp_path / "lib64").symlink_to("lib", target_is_directory=True)
    only(tmp_path / "nothing", file.parent, tmp_path / "lib64", file.parent)
    assert candidates() == [file]


def test_what_is_no_file_is_no_candidate(
    only: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder" / file_name()).mkdir(parents=True)
    if hasattr(os, "mkfifo"):
        (tmp_path / "pipe").mkdir()
        os.mkfifo(tmp_path / "pipe" / file_name())  # opening it would wait for ever
    only(tmp_path / "folder", tmp_path / "pipe", Path("/proc/1/root/lib"))
    assert candidates() == []
    monkeypatch.chdir(tmp_path)
    lay(tmp_path / "near")
    only(Path("near"))  # relative, as in LD_LIBRARY_PATH=near
    assert candidates() == [tmp_path / "near" / file_name()]


# Where it is looked for


def test_the_variable_is_all_that_counts(
    only: Any, pretend: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer, named = lay(tmp_path / "newer"), lay(tmp_path / "named", "my-dnnl.so")
    only(newer.parent)
    opened = pretend({newer: (3, 9, 0), named: (3, 2, 0)})
    monkeypatch.setenv(VARIABLE, f" {named} ")
    assert taken(find()) == str(named)
    assert opened == [str(named)]
    monkeypatch.setenv(VARIABLE, str(newer.parent))  # a folder: the usual name in it
    assert taken(find()) == str(newer)
    monkeypatch.setenv(VARIABLE, "")
    assert taken(find()) == str(newer)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(VARIABLE, "~/named/my-dnnl.so")
    assert taken(find()) == str(named)


def test_a_variable_that_names_nothing_is_not_passed_over(
    only: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(lay(tmp_path).parent)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere.so"))
    found = find()
    assert found.library is None
    assert found.refused == (Refused(str(tmp_path / "nowhere.so"), "there is no such file"),)
    assert f"nowhere.so: there is no such file; {VARIABLE} names it" in found.reason


@pytest.mark.parametrize("variable", ["LD_LIBRARY_PATH", "CONDA_PREFIX", "DNNLROOT"])
@LINUX
def test_folders_that_variables_name(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f":{tmp_path}::/other" if variable == "LD_LIBRARY_PATH" else str(tmp_path)
    monkeypatch.setenv(variable, path)
    found = list(places())
    assert found[0] == Path(sys.prefix, "lib")
    assert (tmp_path if variable == "LD_LIBRARY_PATH" else tmp_path / "lib") in found
    assert Path() not in found  # an empty entry is not the working directory
    assert found.index(Path("/usr/lib")) == len(found) - 2


@pytest.mark.parametrize(
    ("system", "name", "folder"),
    [
        ("linux", "libdnnl.so.3", "lib"),
        ("darwin", "libdnnl.3.dylib", "lib"),
        ("win32", "dnnl.dll", "Library/bin"),
        ("freebsd14", "libdnnl.so.3", "lib"),
    ],
)
def test_other_systems(
    monkeypatch: pytest.MonkeyPatch, system: str, name: str, folder: str
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    assert file_name() == name
    assert next(iter(places())) == Path(sys.prefix, folder)
    assert all(isinstance(place, Path) for place in places())


class _Wheel:
    """What importlib.metadata tells of an installed wheel."""

    def __init__(self, base: Path, *files: str) -> None:
        self.base, self.files = base, [Path(file) for file in files]

    def locate_file(self, file: str | Path) -> Path:
        return self.base / file


@pytest.mark.parametrize(
    ("listed", "lies"),
    [
        ("../../libdnnl.so.3", "lib/libdnnl.so.3"),  # a venv, --user
        ("../libdnnl.so.3", "lib/python3/site-packages/lib/libdnnl.so.3"),  # --target
    ],
)
@LINUX
def test_the_wheel_is_found_by_its_list_of_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, listed: str, lies: str
) -> None:
    base = tmp_path / "lib" / "python3" / "site-packages"
    base.mkdir(parents=True)
    wheel = _Wheel(base, "../../libdnnl.so", listed, "x.dist-info/RECORD")
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: wheel)
    monkeypatch.setattr(library, "places", lambda: iter([tmp_path / "empty"]))
    missing = Path(os.path.abspath(base / listed))
    assert candidates() == [missing]
    assert find().refused == (Refused(str(missing), "there is no such file"),)
    assert "is installed without it, as by `pip install --target`" in find().reason
    file = lay(tmp_path / Path(lies).parent)
    assert wheel_file() == file
    assert candidates() == [file]
    monkeypatch.setattr(library, "places", lambda: iter([file.parent]))
    monkeypatch.setattr(library, "wheel_file", None)  # not asked where the first place has it
    assert candidates() == [file]


def test_no_wheel() -> None:
    try:
        installed = bool(library.import_module("importlib.metadata").distribution(library.WHEEL))
    except ModuleNotFoundError:
        installed = False
    assert (wheel_file() is not None) is installed


# What serves


class _Functions(SimpleNamespace):
    """A library that was loaded, as far as `check` asks it."""

    def __init__(self, isa: int = 0x7, openmp: bool = True) -> None:
        super().__init__(dnnl_get_effective_cpu_isa=lambda: isa)
        if openmp:
            self.omp_set_num_threads = lambda count: None


@pytest.mark.parametrize(
    ("version", "runtime", "said"),
    [
        ((3, 1, 1), OPENMP, "version 3.1.1; 3.2 or a later 3.x is needed"),
        ((2, 7, 0), OPENMP, "version 2.7.0; 3.2"),
        ((4, 0, 0), OPENMP, "version 4.0.0; 3.2"),
        ((3, 2, 0), 1, "version 3.2.0 was built with one thread; OpenMP is needed"),
        ((3, 2, 0), 4, "built with TBB"),
        ((3, 7, 0), 8, "built with a thread pool"),
        ((3, 7, 0), 512, "built with SYCL"),
        ((3, 7, 0), 99, "built with runtime 99"),
    ],
)
def test_what_does_not_serve(version: Any, runtime: int, said: str) -> None:
    with pytest.raises(BackendError, match=said):
        check(version, runtime, _Functions())


@pytest.mark.parametrize("version", [(3, 2, 0), (3, 2, 9), (3, 10, 0), (3, 99, 1)])
def test_versions_that_serve(version: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert check(version, OPENMP, _Functions()) == "AVX2"


def test_a_library_whose_threads_nobody_can_count() -> None:
    with pytest.raises(BackendError, match="no access to OpenMP's omp_set_num_threads"):
        check((3, 2, 0), OPENMP, _Functions(openmp=False))


@pytest.mark.parametrize(("bits", "has"), [(0, "no vectors"), (1, "SSE4.1"), (3, "AVX")])
def test_a_processor_without_avx2(
    monkeypatch: pytest.MonkeyPatch, bits: int, has: str, only: Any
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "AMD64")
    with pytest.raises(BackendError, match=rf"has {has} at most; AVX2 is needed"):
        check((3, 2, 0), OPENMP, _Functions(bits))
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX")
    with pytest.raises(BackendError, match=r"\(ONEDNN_MAX_CPU_ISA=AVX says so\); AVX2"):
        check((3, 2, 0), OPENMP, _Functions(bits))


@pytest.mark.parametrize("bits", [0x0, 0x1, 0xFFFF])
def test_other_processors_have_no_such_bar(monkeypatch: pytest.MonkeyPatch, bits: int) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert check((3, 2, 0), OPENMP, _Functions(bits)) == "aarch64"


def test_names_of_instruction_sets() -> None:
    assert isa_name(0x27) == "AVX-512"
    assert isa_name(0xFEF) == "AMX"
    assert isa_name(0x21FF) == "AVX-512 FP16 and more (0x21ff)"  # newer than this program


# Loading


def test_what_is_no_library(tmp_path: Path) -> None:
    path = lay(tmp_path, "text.so", "not a library, and long enough to have had a header" * 9)
    with pytest.raises(BackendError, match=r"^it cannot be loaded: ") as error:
        open_library(path)
    if sys.platform == "linux":
        assert str(path) not in str(error.value)  # the search names it
    with pytest.raises(BackendError, match="there is no such file"):
        open_library(tmp_path / "nowhere.so")


@LINUX
def test_a_library_that_is_not_onednn() -> None:
    maths = next(Path("/").glob("lib*/**/libm.so.6"), None)
    if maths is None:
        pytest.skip("no libm.so.6 by that name")
    with pytest.raises(BackendError, match="not oneDNN: it has no dnnl_version"):
        open_library(maths)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "libgomp.so.1: cannot open shared object file: No such file or directory",
            r"GNU's OpenMP runtime is missing \(Debian, Ubuntu: apt install libgomp1\)",
        ),
        ("libstdc++.so.6: cannot open shared object file", "apt install libstdc\\+\\+6"),
        ("/lib/libc.so.6: version `GLIBC_2.34' not found (required by x)", "GLIBC_2.34' not found"),
    ],
)
def test_what_the_loader_misses(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, only: Any, text: str, said: str
) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError(text)

    only(lay(tmp_path).parent)
    monkeypatch.setattr(ctypes, "CDLL", refuse)
    found = find()
    assert found.library is None
    with pytest.raises(BackendError, match=said):
        open_library(tmp_path / file_name())
    assert text in found.reason
    assert ("pip install" in found.reason) <= ("apt install" not in found.reason)


@SERVES
def test_the_one_that_serves_here() -> None:
    found = search()
    assert found.library is not None
    assert found.library.version >= (3, 2, 0)
    assert Path(found.library.path).is_file()
    assert found.reason == found.remedy == ""
    facts = about()
    assert facts["path"] == found.library.path
    assert facts["version"] == ".".join(map(str, found.library.version))
    assert open_library(Path(found.library.path)).isa == facts["instruction_set"]


# What is said


@pytest.mark.parametrize(
    ("system", "machine", "libc", "said"),
    [
        ("Linux", "x86_64", "glibc", "was found; pip install onednn-cpu-gomp"),
        ("Linux", "x86_64", "", "install oneDNN 3.2 or a later"),  # musl: no wheel fits
        ("Linux", "aarch64", "glibc", "install oneDNN 3.2 or a later"),
        ("Darwin", "arm64", "", "conda-forge"),
        ("Windows", "AMD64", "", "was found"),
    ],
)
def test_what_to_do(
    monkeypatch: pytest.MonkeyPatch, only: Any, system: str, machine: str, libc: str, said: str
) -> None:
    only()
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platform, "libc_ver", lambda: (libc, "2.36"))
    found = find()
    assert found == Search(None, ())
    assert said in found.reason
    assert found.reason.endswith("was found") == (system == "Windows")


def test_nothing_is_advised_where_it_does_not_help(only: Any, pretend: Any, tmp_path: Path) -> None:
    file = lay(tmp_path)
    only(tmp_path)
    pretend({file: "the processor has AVX at most; AVX2 is needed"})
    assert find().reason == f"{file}: the processor has AVX at most; AVX2 is needed"


# For real, in a process of its own

PROGRAM = """
import sys, threading, warnings
{prelude}
import chainrule as cr
assert not {{"ctypes.util", "threadpoolctl", "chainrule.backends"}} & set(sys.modules)
seen = []
warnings.simplefilter("always")
warnings.showwarning = lambda message, *rest: seen.append(str(message))
start, answers = threading.Barrier(4), []
def work():
    start.wait()
    x = cr.tensor([[1.0, -2.0]], requires_grad=True)
    y = cr.relu(x @ cr.tensor([[3.0], [1.0]])).sum()
    y.backward()
    answers.append((y.item(), x.grad.tolist()))
workers = [threading.Thread(target=work) for _ in range(4)]
[worker.start() for worker in workers]
[worker.join() for worker in workers]
assert answers == [(1.0, [[3.0, 1.0]])] * 4, answers
assert cr.current_backend().name == "numpy", cr.current_backend()
try:
    cr.use_backend("onednn")
except cr.errors.BackendError as error:
    assert isinstance(error, RuntimeError)
    print(error)
else:
    print("it loaded")
work_again = cr.tensor([1.0]) + 1
print(len(seen), *seen, sep="\\n")
"""

FAKE = """
import ctypes
from types import SimpleNamespace as Space
real = ctypes.CDLL
def load(path, *args, **kwargs):
    if not str(path).endswith("fake-dnnl.so"):
        return real(path, *args, **kwargs)
    version = Space(major={0}, minor={1}, patch=0, cpu_runtime={2})
    def dnnl_version():
        return Space(contents=version)
    return Space(dnnl_version=dnnl_version, dnnl_get_effective_cpu_isa=lambda: {3},
                 omp_set_num_threads=print)
ctypes.CDLL = load
"""

UNLOADABLE = """
import ctypes
real = ctypes.CDLL
def load(path, *args, **kwargs):
    if "dnnl" in str(path):
        raise OSError("libgomp.so.1: cannot open shared object file: No such file or directory")
    return real(path, *args, **kwargs)
ctypes.CDLL = load
"""

NO_CTYPES = "import sys; sys.modules['ctypes'] = None"

CASES = {
    "missing": ("", "nowhere.so", "there is no such file"),
    "text": ("", "text.so", "it cannot be loaded"),
    "too old": (FAKE.format(3, 1, 2, 7), "fake-dnnl.so", "it is version 3.1.0; 3.2"),
    "too new": (FAKE.format(4, 0, 2, 7), "fake-dnnl.so", "it is version 4.0.0; 3.2"),
    "sequential": (FAKE.format(3, 4, 1, 7), "fake-dnnl.so", "built with one thread"),
    "tbb": (FAKE.format(3, 4, 4, 7), "fake-dnnl.so", "built with TBB; OpenMP is needed"),
    "libgomp": (UNLOADABLE, "fake-dnnl.so", "apt install libgomp1"),
}
if X86:
    CASES["avx"] = (FAKE.format(3, 4, 2, 3), "fake-dnnl.so", "has AVX at most; AVX2 is needed")


def run(program: str, **environment: str) -> list[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CHAINRULE_", "ONEDNN_"))}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={**clean, **environment},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("case", CASES)
def test_numpy_serves_and_one_warning_says_why(case: str, tmp_path: Path) -> None:
    prelude, name, said = CASES[case]
    for file in ("text.so", "fake-dnnl.so"):
        lay(tmp_path, file, "no library" * 99)
    error, count, *warned = run(PROGRAM.format(prelude=prelude), **{VARIABLE: str(tmp_path / name)})
    assert said in error
    assert str(tmp_path / name) in error
    assert count == "1"
    assert said in warned[0]
    assert "chainrule doctor" in warned[0]


@SERVES
@pytest.mark.skipif(not X86, reason="an instruction set of x86")
def test_a_real_library_on_an_old_processor() -> None:
    error, count, warned = run(PROGRAM.format(prelude=""), ONEDNN_MAX_CPU_ISA="SSE41")
    assert "has SSE4.1 at most (ONEDNN_MAX_CPU_ISA=SSE41 says so); AVX2 is needed" in error
    assert count == "1"
    assert "AVX2 is needed" in warned


def test_a_python_without_ctypes() -> None:
    program = f"""
{NO_CTYPES}
import warnings
warnings.showwarning = lambda message, *rest: print(message)
from chainrule.engine.dispatch import BackendError, _fastest, use_backend
print(_fastest().name)
try:
    use_backend("onednn")
except BackendError as error:
    print(error)
"""
    warned, name, error = run(program)
    assert name == "numpy"
    assert "ctypes" in warned
    assert "'onednn' cannot be loaded" in error


@SERVES
@LINUX
def test_two_libraries_in_one_process_do_not_meet(tmp_path: Path) -> None:
    """Another libdnnl of the same name, at another place, is loaded beside ours."""
    assert search().library is not None
    program = f"""
import shutil, sys
import numpy as np
from pathlib import Path
other = Path({str(tmp_path)!r}) / "libdnnl.so.3"
shutil.copyfile({search().library.path!r}, other)
from chainrule.backends.onednn.library import open_library
first = open_library(other)
import chainrule as cr
x = np.random.default_rng(0).standard_normal((2, 8, 9, 9), np.float32)
w = np.random.default_rng(1).standard_normal((5, 8, 3, 3), np.float32)
a = cr.conv2d(cr.tensor(x), cr.tensor(w)).numpy()
second = open_library(other)
with cr.use_backend("numpy"):
    b = cr.conv2d(cr.tensor(x), cr.tensor(w)).numpy()
print(cr.current_backend().calls["Conv"], np.abs(a - b).max() < 1e-4, first.version[0])
"""
    assert run(program) == ["1 True 3"]
