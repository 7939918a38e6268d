"""The build's hook: what it compiles, and what happens where it cannot."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from chainrule.native import library
from chainrule.native.sources import digest

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "hatch_build.py"
HERE = (platform.system(), platform.machine(), platform.libc_ver()[0])
COMPILES = pytest.mark.skipif(
    HERE != ("Linux", "x86_64", "glibc"), reason="nothing is compiled for this platform"
)

COMPILER = """
import json, os, sys
from pathlib import Path
arguments = sys.argv[1:]
out = Path(arguments[arguments.index("-o") + 1])
told = {"arguments": arguments, "cache": os.environ["ZIG_GLOBAL_CACHE_DIR"]}
with open(Path(__file__).with_name("log"), "a") as log:
    log.write(json.dumps(told) + "\\n")
inputs = [Path(a) for a in arguments if a.endswith((".c", ".o")) and a != str(out)]
text = "".join(path.read_text() for path in inputs)
if ("-c" in arguments and "mistake" in text) or ("-shared" in arguments and "no link" in text):
    out.write_text("half")
    sys.exit("a.c:1: this is a mistake")
out.write_text(text)
"""


def loaded() -> ModuleType:
    """Load the script as a module of its own."""
    spec = importlib.util.spec_from_file_location("hatch_build_under_test", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Load the script, with a compiler that notes how it was called and joins texts."""
    module = loaded()
    compiler = tmp_path / "compiler" / "cc.py"
    compiler.parent.mkdir()
    compiler.write_text(COMPILER)
    monkeypatch.setattr(module, "COMPILER", [sys.executable, str(compiler)])
    monkeypatch.setattr(module, "obstacle", lambda: "")
    return module


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Lay a checkout with three small sources."""
    source = tmp_path / "check out" / "src" / "chainrule" / "native" / "source"
    source.mkdir(parents=True)
    shutil.copy(ROOT / "src" / "chainrule" / "native" / "sources.py", source.parent)
    for name in ("start.c", "a.c", "b.c"):
        (source / name).write_text(f"[{name}]")
    return tmp_path / "check out"


def native(root: Path) -> Path:
    return root / "src" / "chainrule" / "native"


def calls(tmp_path: Path) -> list[dict[str, Any]]:
    lines = (tmp_path / "compiler" / "log").read_text().splitlines()
    return [json.loads(line) for line in lines]


def project(root: Path, said: list[str]) -> Any:
    """Stand for the hook's `self`, so that hatchling need not be installed."""
    return SimpleNamespace(root=str(root), app=SimpleNamespace(display_warning=said.append))


def nothing_half_done(folder: Path) -> bool:
    return not [path for path in folder.iterdir() if path.name.startswith(".")]


# What is compiled


def test_each_file_for_each_processor_and_the_common_one_once(
    hook: ModuleType, root: Path, tmp_path: Path
) -> None:
    path = hook.build(root)
    assert path == native(root) / library.NAME
    assert path.read_text() == "[a.c]" * 3 + "[b.c]" * 3 + "[start.c]"
    *compiled, linked = calls(tmp_path)
    for call in (*compiled, linked):
        assert call["arguments"][:2] == ["-target", "x86_64-linux-gnu.2.17"]
        assert call["cache"] == str(root / "build" / "zig")  # not the home directory
    options = [set(call["arguments"]) for call in compiled]
    assert [{"-mcpu=x86_64_v3", "-DISA=avx2", "a.c"} <= o for o in options] == [True] + [False] * 6
    assert {"-mcpu=x86_64_v4", "-DISA=avx512", "b.c"} <= options[4]
    assert {"-mcpu=x86_64_v4", "-DISA=avx512half", "-DLANES=8", "b.c"} <= options[5]
    told = f'-DCHAINRULE_SOURCES="{digest(native(root) / "source")}"'
    assert {"-mcpu=x86_64", told} <= options[6]
    assert not any(option.startswith("-DISA") for option in options[6])
    for flags in options:
        assert {"-O3", "-fPIC", "-fvisibility=hidden", "-ffp-contract=fast"} <= flags
        assert "-ffast-math" not in flags  # NaN and infinity come through
    assert {"-shared", "-Wl,-z,defs"} <= set(linked["arguments"])  # a missing name is a mistake


def test_a_source_saved_meanwhile_is_not_taken_for_the_one_compiled(
    hook: ModuleType, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, run = native(root) / "source" / "a.c", hook._run
    before = digest(first.parent)

    def save(*arguments: Any) -> None:
        run(*arguments)
        first.write_text("saved by an editor")

    monkeypatch.setattr(hook, "_run", save)
    hook.build(root)
    assert any(f'-DCHAINRULE_SOURCES="{before}"' in call["arguments"] for call in calls(tmp_path))


def test_the_names_are_those_of_the_loader_and_of_the_files(hook: ModuleType) -> None:
    assert hook.LIBRARY == library.NAME
    assert set(hook.VARIANTS) == set(library._LEVELS) | set(library._HALF.values())
    for name in hook.COMMON:
        assert (native(ROOT) / "source" / name).is_file()


@pytest.mark.parametrize("text", ["a mistake", "no link"])
def test_a_mistake_leaves_the_former_library_whole(hook: ModuleType, root: Path, text: str) -> None:
    former = native(root) / library.NAME
    former.write_text("former")
    (native(root) / "source" / "b.c").write_text(text)
    with pytest.raises(hook.CompilationError, match=r"do not compile:\na.c:1: this is a mistake"):
        hook.build(root)
    assert former.read_text() == "former"
    assert nothing_half_done(native(root))


def test_the_library_takes_its_place_in_one_step(
    hook: ModuleType, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = native(root) / library.NAME
    former.write_text("former")
    moved = []

    def replace(new: Path, old: Path) -> None:
        moved.append((new.parent == old.parent, new.read_text(), old.read_text()))
        os.rename(new, old)

    monkeypatch.setattr(os, "replace", replace)
    with former.open() as loaded:
        hook.build(root)
        assert loaded.read() == "former"  # who has it loaded keeps it
    assert moved == [(True, "[a.c]" * 3 + "[b.c]" * 3 + "[start.c]", "former")]
    assert former.read_text() == "[a.c]" * 3 + "[b.c]" * 3 + "[start.c]"
    assert nothing_half_done(native(root))


# What hatchling is told


def test_an_editable_installation_gets_it_in_place(hook: ModuleType, root: Path) -> None:
    build_data: dict[str, Any] = {"force_include": {}}
    hook.KernelsHook.initialize(project(root, []), "editable", build_data)
    assert (native(root) / library.NAME).is_file()
    assert build_data == {"force_include": {}}  # its wheel has no platform: it only points here


def test_a_wheel_gets_it_inside_and_the_checkout_stays_as_it_is(
    hook: ModuleType, root: Path
) -> None:
    this = project(root, [])
    build_data: dict[str, Any] = {"force_include": {}}
    hook.KernelsHook.initialize(this, "standard", build_data)
    ((source, inside),) = build_data.pop("force_include").items()
    assert inside == "chainrule/native/libchainrule.so"
    assert Path(source).read_text() == "[a.c]" * 3 + "[b.c]" * 3 + "[start.c]"
    assert build_data == {"tag": "py3-none-manylinux_2_17_x86_64", "pure_python": False}
    assert not (native(root) / library.NAME).exists()
    hook.KernelsHook.finalize(this, "standard", build_data, "a.whl")
    assert not Path(source).parent.exists()


def test_a_read_only_checkout(hook: ModuleType, root: Path, tmp_path: Path) -> None:
    (root / "build").write_text("a file: no folder can be made here")
    this = project(root, [])
    hook.KernelsHook.initialize(this, "standard", {"force_include": {}})
    hook.KernelsHook.finalize(this, "standard", {}, "a.whl")
    caches = {Path(call["cache"]) for call in calls(tmp_path)}
    assert len(caches) == 1
    assert not any(cache.exists() or cache.is_relative_to(root) for cache in caches)


@pytest.mark.parametrize("version", ["editable", "standard"])
def test_a_mistake_fails_the_build(hook: ModuleType, root: Path, version: str) -> None:
    (native(root) / "source" / "a.c").write_text("a mistake")
    with pytest.raises(hook.CompilationError, match="this is a mistake"):
        hook.KernelsHook.initialize(project(root, []), version, {"force_include": {}})


@pytest.mark.parametrize("version", ["editable", "standard"])
def test_where_nothing_can_be_compiled_the_build_says_so_and_goes_on(
    hook: ModuleType, root: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr(hook, "obstacle", lambda: "there is no compiler")
    said: list[str] = []
    this, build_data = project(root, said), {"force_include": {}}
    hook.KernelsHook.initialize(this, version, build_data)
    hook.KernelsHook.finalize(this, version, build_data, "a.whl")
    assert said == ["chainrule is built without compiled kernels: there is no compiler"]
    assert build_data == {"force_include": {}}  # py3-none-any, as hatchling has it
    assert not (native(root) / library.NAME).exists()


# Where that is


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Ask for the obstacle on a platform, with ziglang or without."""
    module = loaded()

    def ask(system: str, machine: str, libc: str, zig: bool = True) -> str:
        monkeypatch.setattr(platform, "system", lambda: system)
        monkeypatch.setattr(platform, "machine", lambda: machine)
        monkeypatch.setattr(platform, "libc_ver", lambda: (libc, ""))
        monkeypatch.setattr(module, "find_spec", lambda name: name if zig else None)
        return str(module.obstacle())

    return ask


def test_platforms(on: Callable[..., str]) -> None:
    assert on("Linux", "x86_64", "glibc") == ""
    assert "ziglang, which brings the compiler" in on("Linux", "x86_64", "glibc", zig=False)
    said = "they are for Linux on x86-64 with glibc, and this is "
    assert on("Linux", "x86_64", "") == f"{said}Linux, x86_64, 64 bits"  # musl
    assert on("Linux", "aarch64", "glibc") == f"{said}Linux, aarch64, 64 bits, glibc"
    assert on("Darwin", "x86_64", "").startswith(said)
    assert on("Windows", "AMD64", "").startswith(said)


# Environments


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_every_environment_is_made_anew_when_a_source_changed() -> None:
    """Asked of make itself: what each stamp depends on."""
    told = subprocess.run(
        ["make", "--no-print-directory", "--print-data-base", "--dry-run", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    stamps = dict(re.findall(r"^(\.venv[\w-]*/\.\w+): (.*)$", told, re.M))
    assert {".venv/.demo", ".venv/.dev", ".venv-parity/.parity", ".venv-bench/.bench"} <= set(
        stamps
    )
    sources = {str(path.relative_to(ROOT)) for path in (native(ROOT) / "source").glob("*.[ch]")}
    for stamp, needed in stamps.items():
        assert {"pyproject.toml", "hatch_build.py", *sources} <= set(needed.split()), stamp


# For real: these ask the registry for the compiler


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Copy what the build reads, into a path with a space."""
    copy = tmp_path / "a copy"
    copy.mkdir()
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, copy)
    ignored = shutil.ignore_patterns("__pycache__", "*.so")
    shutil.copytree(ROOT / "src", copy / "src", ignore=ignored)
    return copy


def wheel(checkout: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(folder)]
    done = subprocess.run(
        [*command, str(checkout)], capture_output=True, text=True, check=False, timeout=600
    )
    if "No matching distribution found for" in done.stderr or "No module named pip" in done.stderr:
        pytest.skip("the build's requirements cannot be had here")
    return done


@pytest.mark.slow
@COMPILES
def test_a_wheel(checkout: Path, tmp_path: Path) -> None:
    (native(checkout) / library.NAME).write_text("left here by somebody")
    done = wheel(checkout, tmp_path / "wheels")
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "wheels").iterdir()
    assert file.name.endswith("-py3-none-manylinux_2_17_x86_64.whl")
    inside = "chainrule/native/libchainrule.so"
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        assert archive.read(inside)[:4] == b"\x7fELF"
    assert [name for name in names if name.endswith((".so", ".c", ".h"))] == [inside]
    assert (native(checkout) / library.NAME).read_text() == "left here by somebody"


@pytest.mark.slow
@COMPILES
def test_a_mistake_in_c_fails_the_wheel(checkout: Path, tmp_path: Path) -> None:
    (native(checkout) / "source" / "wrong.c").write_text("int wrong(void) { return absent(); }\n")
    done = wheel(checkout, tmp_path / "wheels")
    assert done.returncode != 0
    assert "the kernels do not compile" in done.stdout + done.stderr
    assert "wrong.c:1:" in done.stdout + done.stderr
    assert not list(tmp_path.glob("wheels/*"))
