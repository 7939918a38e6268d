"""The project's own files agree with each other."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import tomllib
from collections import Counter
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest

import chainrule as cr

ROOT = Path(__file__).parent.parent
PACKAGE = Path(cr.__file__).parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def names(requirements: list[str]) -> set[str]:
    """Package names out of requirements, without the project itself."""
    found = {re.split(r"[^\w-]", r, maxsplit=1)[0] for r in requirements}
    return found - {PROJECT["project"]["name"]}


def explained(page: str) -> dict[str, str]:
    """Package and reason of every row in the page's tables."""
    rows = re.findall(r"^\| ([\w-]+) \| (.+) \|$", page, re.M)
    return {package: why for package, why in rows if package != "package"}


def test_every_dependency_has_a_reason() -> None:
    project = PROJECT["project"]
    wanted = names(project["dependencies"] + PROJECT["build-system"]["requires"])
    for extra in project["optional-dependencies"].values():
        wanted |= names(extra)
    reasons = explained((ROOT / "docs" / "dependencies.md").read_text("utf-8"))
    assert set(reasons) == wanted


def test_version_is_the_same_everywhere() -> None:
    version = PROJECT["project"]["version"]
    assert cr.__version__ == version
    assert f"\n## {version} " in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_package_ships_its_types_and_its_command() -> None:
    assert (PACKAGE / "py.typed").exists()
    try:
        installed = distribution("chainrule")
    except PackageNotFoundError:
        pytest.skip("chainrule is not installed: this is a bare checkout")
    assert installed.version == cr.__version__
    (command,) = [e for e in installed.entry_points if e.group == "console_scripts"]
    assert command.name == "chainrule"
    assert callable(command.load())


def test_rooms_import_by_name_and_not_the_public_face() -> None:
    """`import chainrule` inside the package would be an import upwards that no linter sees."""
    for path in PACKAGE.rglob("*.py"):
        found = upward_imports(path.read_text("utf-8"))
        assert not found, f"{path.relative_to(PACKAGE)}: {found}"


def upward_imports(source: str) -> list[str]:
    """Imports of the package's own top (but for its version), and relative ones."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [f"line {node.lineno}" for a in node.names if a.name == "chainrule"]
        elif isinstance(node, ast.ImportFrom) and (node.level or node.module == "chainrule"):
            found += [f"line {node.lineno}" for a in node.names if a.name != "__version__"]
    return found


def test_upward_imports_are_seen() -> None:
    for bad in ("import chainrule as cr", "from chainrule import nn", "from . import errors"):
        assert upward_imports(bad) == ["line 1"], bad
    assert upward_imports("from chainrule.errors import expect\nimport numpy") == []


def houses(page: str) -> dict[str, list[str]]:
    """Names in the first columns of the page's tables, by the folder in their heading."""
    found: dict[str, list[str]] = {}
    for section in re.split(r"^##+ ", page, flags=re.M)[1:]:
        heading, _, text = section.partition("\n")
        folder = re.fullmatch(r"Inside .+: `([\w/]+)/`", heading)
        where = folder[1] if folder else "." if heading == "Rooms" else None
        if where is not None:
            cells = re.findall(r"^\| (`.+?) \|", text, re.M)
            found[where] = [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
    return found


def misplaced(page: str, files: list[str]) -> list[str]:
    """Say which files the page does not name once under their folder, and which are not there."""
    named = houses(page)
    said = Counter(
        f"{'' if folder == '.' else folder + '/'}{n}" for folder in named for n in named[folder]
    )
    rooms = {file.partition("/")[0] + "/" for file in files if "/" in file}
    wanted = {file for file in files if Path(file).name != "__init__.py"} | rooms
    return sorted(
        [f"{name} is named {said[name]} times" for name in wanted if said[name] != 1]
        + [f"{name} is named and does not exist" for name in said if name not in wanted]
    )


def test_every_file_is_named_once_on_the_page_of_the_house() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    files = [
        path.relative_to(PACKAGE).as_posix()
        for kind in ("py", "c", "h")
        for path in PACKAGE.rglob(f"*.{kind}")
    ]
    assert len(files) > 200
    assert not misplaced(page, files)


def test_a_page_of_another_house_is_seen() -> None:
    page = """## Rooms\n| `a/` `b.py` | x |\n### Inside one: `a/`\n| `c.py` `d.c` | `no.py` |
| `c.py` | x |\n### Inside it: `a/e/`\n| `f.py` | x |\n## Others\n| `g.py` | x |"""
    files = ["b.py", "a/__init__.py", "a/c.py", "a/e/f.py", "a/g.py", "h/i.py"]
    assert misplaced(page, files) == [
        "a/c.py is named 2 times",
        "a/d.c is named and does not exist",
        "a/g.py is named 0 times",
        "h/ is named 0 times",
        "h/i.py is named 0 times",
    ]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_lists_its_targets() -> None:
    listed = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for target in ("demo", "test", "test-slow", "parity", "lint", "bench", "clean"):
        assert re.search(rf"^  make {target} - \w", listed, re.M), target


def test_ci_runs_every_check() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111, ".ci/run is executable"
    ran = re.findall(r"^make ([\w-]+)$", script.read_text("utf-8"), re.M)
    assert {"lint", "test", "test-slow", "parity"} <= set(ran)
