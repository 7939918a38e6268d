"""Run the code blocks of a Markdown page; a block that cannot be checked is a failure.

Kinds: `python` (run; compared where it is written with >>>), `bash`, `sh`, `shell` and `console`
(`chainrule` commands run, `make` targets must exist, git and pip lines are parsed), and `text`,
which is what the block before it prints.  What Python prints is compared whole; of what commands
print, the lines shown must be among it, in order, with numbers free, since they differ between
machines.  "..." stands for anything.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import shlex
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

import chainrule as cr

ROOT = Path(__file__).parent.parent
SHELLS = ("bash", "sh", "shell", "console")
FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})[ \t]*(?P<kind>[^\n`]*)$")
ENTRY = "import sys; from chainrule.cli.main import main; sys.exit(main())"
TIMES_OUT = 600


class ReadmeError(AssertionError):
    """A block does not do what the page says."""


@dataclass(frozen=True)
class Block:
    """A code block, the line it starts on, and the `text` block that follows it, if one does."""

    kind: str
    text: str
    line: int
    printed: str | None = None

    def fail(self, why: str) -> ReadmeError:
        """Make the error that names the block."""
        return ReadmeError(f"line {self.line} ({self.kind or 'no kind'}): {why}")


def blocks(page: str) -> list[Block]:
    """Find the code blocks of a page: fenced, indented by four, or in <pre>."""
    found: list[Block] = []
    lines = iter(enumerate(page.splitlines(), 1))
    before, listed = "", False
    for number, line in lines:
        if match := FENCE.match(line):
            inside = list(_until(match["fence"], lines))
            text = "\n".join(row.removeprefix(match["indent"]) for row in inside) + "\n"
            found.append(Block(match["kind"].strip().lower(), text, number))
        elif "<pre" in line or (re.match(r"( {4}|\t)\S", line) and not before and not listed):
            found.append(Block("", line, number))
        listed = bool(re.match(r" *([-*+]|\d+\.) ", line)) or (listed and line[:1] in ("", " "))
        before = line.strip()
    return _join_printed(found)


def _until(fence: str, lines: Iterator[tuple[int, str]]) -> Iterator[str]:
    for _, line in lines:
        if line.strip().startswith(fence) and not line.strip().strip(fence[0]):
            return
        yield line
    raise ReadmeError(f"a block opened with {fence} is never closed")


def _join_printed(found: list[Block]) -> list[Block]:
    """Hand each `text` block to the block before it; one with nothing before it stays."""
    joined: list[Block] = []
    for block in found:
        if block.kind == "text" and joined and joined[-1].printed is None:
            last = joined.pop()
            joined.append(Block(last.kind, last.text, last.line, block.text))
        else:
            joined.append(block)
    return joined


def compare(block: Block, expected: str, printed: str) -> None:
    """Require the expected lines among the printed ones, in their order."""
    rest = iter(printed.splitlines())
    for line in filter(str.strip, expected.splitlines()):
        pattern = _pattern(line)
        if line.strip() != "..." and not any(pattern.fullmatch(got.strip()) for got in rest):
            raise block.fail(f"{line.strip()!r} is not printed; what is:\n{printed}")


def _pattern(line: str) -> re.Pattern[str]:
    pieces = re.split(r"(\d[\d,]*(?:\.\d+)?|\.\.\.|\s+)", line.strip())
    free = {"...": ".*", "": ""}
    return re.compile(
        "".join(
            free.get(p)
            or (r"\s+" if p.isspace() else r"\d[\d,.]*" if p[:1].isdigit() else re.escape(p))
            for p in pieces
        )
    )


# Python


def run_python(block: Block, folder: Path) -> None:
    """Run a block in a namespace of its own; compare what it prints where that is written."""
    printed = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
        if re.search(r"^\s*>>> ", block.text, re.M):
            _run_examples(block, printed)
            return
        try:
            code = compile(block.text, f"README.md, block of line {block.line}", "exec")
            exec(code, {"__name__": "__main__"})
        except Exception as error:
            raise block.fail(f"raises {error!r}") from error
    got = printed.getvalue()
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    if block.printed is not None and not doctest.OutputChecker().check_output(
        block.printed, got, flags
    ):
        raise block.fail(f"{block.printed!r} is not printed; what is:\n{got}")


def _run_examples(block: Block, printed: io.StringIO) -> None:
    if block.printed is not None:
        raise block.fail("has examples with >>> and a text block besides")
    test = doctest.DocTestParser().get_doctest(block.text, {}, "README", "README.md", block.line)
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    if runner.run(test, out=printed.write).failed:
        raise block.fail(printed.getvalue())


# Shell


def commands(block: Block) -> list[tuple[str, str | None]]:
    """Split a block into commands, each with what it prints, or None where that is not written."""
    text = re.sub(r"\\\n\s*", "", block.text)
    if not re.search(r"^\$ ", text, re.M):
        found = [line for line in text.splitlines() if line.split("#")[0].strip()]
        printed = [None] * (len(found) - 1) + [block.printed]
        return list(zip(found, printed, strict=True))
    if block.printed is not None:
        raise block.fail("has commands with $ and a text block besides")
    head, *parts = re.split(r"^\$ ", text, flags=re.M)
    if head.strip():
        raise block.fail(f"prints {head.strip()!r} before any command")
    pairs = (part.partition("\n") for part in parts)
    return [(command, printed if printed.strip() else None) for command, _, printed in pairs]


def is_long(block: Block) -> bool:
    """Whether the block trains a network, or uses one that an earlier block trained."""
    if block.kind not in SHELLS:
        return False
    return any(
        re.match(r"chainrule (train|evaluate|predict)\b", command)
        or (command.startswith("make demo") and printed is not None)
        for command, printed in commands(block)
    )


def run_shell(block: Block, folder: Path) -> None:
    """Check every command of a block, running those of chainrule in the folder."""
    for line, expected in commands(block):
        printed = ""
        for command in re.split(r"\s*&&\s*", line):
            printed += run_command(block, command, folder)
        if expected is not None:
            compare(block, expected, printed)


def run_command(block: Block, command: str, folder: Path) -> str:
    """Check one command; give what it prints."""
    try:
        words = shlex.split(command, comments=True)
    except ValueError as error:
        raise block.fail(f"{command!r} is no shell command: {error}") from error
    match words:
        case ["chainrule", *arguments]:
            return run_cli(block, arguments, folder)
        case ["make", *arguments]:
            return _make(block, arguments, folder)
        case ["pip", *arguments] | [("python" | "python3"), "-m", "pip", *arguments]:
            _pip(block, arguments)
        case ["git", "clone", _] | ["cd", _] | ["source" | ".", ".venv/bin/activate"]:
            pass
        case [("python" | "python3"), "-m", "venv", _]:
            pass
        case _:
            raise block.fail(f"{command!r} is of no kind that this test can check")
    return ""


def run_cli(block: Block, arguments: list[str], folder: Path) -> str:
    """Run the command line in the folder, with the data that the reader is asked to have."""
    _provide(arguments, folder)
    path = os.pathsep.join(filter(None, (str(Path(cr.__file__).parent.parent), *_python_path())))
    done = subprocess.run(
        [sys.executable, "-c", ENTRY, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "100", "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMES_OUT,
    )
    if done.returncode:
        raise block.fail(
            f"chainrule {shlex.join(arguments)} ends with {done.returncode}:\n"
            f"{done.stdout}{done.stderr}"
        )
    return done.stdout + done.stderr


def _python_path() -> list[str]:
    return os.environ.get("PYTHONPATH", "").split(os.pathsep)


def _provide(arguments: list[str], folder: Path) -> None:
    """Make the images and the MNIST folder that the arguments name, small, where there are none."""
    for before, argument in zip(["", *arguments], arguments, strict=False):
        path = folder / argument
        if before == "--data-dir" and not path.exists():
            _make_mnist(path)
        elif path.suffix in (".png", ".jpg") and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.zeros((28, 28), np.uint8)
            pixels[4:24, 13:16] = 255
            Image.fromarray(pixels).save(path)


def _make_mnist(path: Path) -> None:
    path.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, count in (("train", 200), ("t10k", 50)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        head = struct.pack(">4i", 2051, count, 28, 28)
        (path / f"{name}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        head = struct.pack(">2i", 2049, count)
        (path / f"{name}-labels-idx1-ubyte").write_bytes(head + labels.tobytes())


def _make(block: Block, arguments: list[str], folder: Path) -> str:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    printed = ""
    for target in (a for a in arguments if "=" not in a):
        recipe = re.search(rf"^{re.escape(target)}:[^\n]*\n((?:\t[^\n]*\n)+)", makefile, re.M)
        if recipe is None:
            raise block.fail(f"make has no target {target!r}")
        if target == "demo" and is_long(block):
            printed += _run_recipe(block, recipe[1], makefile, folder)
    return printed + "12 passed in 3.45s"  # the form of pytest's last line, numbers free


def _run_recipe(block: Block, recipe: str, makefile: str, folder: Path) -> str:
    """Run the chainrule and echo lines of a recipe, as make would in a fresh checkout."""
    defaults = dict(re.findall(r"^(\w+) \?= (.*)$", makefile, re.M))
    printed = ""
    for line in recipe.splitlines():
        for name, value in defaults.items():
            line = line.replace(f"$({name})", value)
        words = shlex.split(line.strip().lstrip("@"))
        if words[0] == ".venv/bin/chainrule":
            printed += run_cli(block, words[1:], folder)
        elif words[0] == "echo":
            printed += " ".join(words[1:]) + "\n"
        else:
            raise block.fail(f"the recipe's {words[0]!r} is of no kind that this test can check")
    return printed


def _pip(block: Block, arguments: list[str]) -> None:
    extras = re.search(r"^\[project\.optional-dependencies\]\n(.*?)^\[", _pyproject(), re.M | re.S)
    known = set(re.findall(r"^(\w+) = ", extras[1], re.M)) if extras else set()
    if arguments[:1] != ["install"] or len(arguments) < 2:
        raise block.fail(f"pip {shlex.join(arguments)}: expected pip install SOMETHING")
    for argument in arguments[1:]:
        asked = re.fullmatch(r"(?:\.|chainrule)\[([\w,]+)\]", argument)
        if asked and not set(asked[1].split(",")) <= known:
            raise block.fail(f"{argument}: the extras are {', '.join(sorted(known))}")


def _pyproject() -> str:
    return (ROOT / "pyproject.toml").read_text("utf-8")


def run_block(block: Block, folder: Path) -> None:
    """Run or check one block, whatever its kind; raises ReadmeError."""
    if block.kind in ("python", "pycon"):
        run_python(block, folder)
    elif block.kind in SHELLS:
        run_shell(block, folder)
    else:
        raise block.fail("blocks are python, pycon, bash, sh, shell, console, or text after one")
