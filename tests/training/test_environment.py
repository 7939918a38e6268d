from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

import chainrule as cr
from chainrule.training import environment
from chainrule.training.environment import (
    describe_environment,
    git_revision,
    own_command,
    processor_name,
)

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def test_everything_is_json_and_is_so() -> None:
    found = describe_environment()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["chainrule"] == cr.__version__
    assert found["python"].startswith("{}.{}.{}".format(*sys.version_info[:3]))
    assert found["threads"] == cr.get_num_threads()
    assert found["backend"] in ("numpy", "onednn")
    date = datetime.fromisoformat(found["date"])
    assert date.utcoffset() is not None
    assert abs((datetime.now(UTC) - date).total_seconds()) < 60


def test_nothing_secret_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(environment.PREFIXES):
            monkeypatch.delenv(name)
    kept = {"CHAINRULE_NUM_THREADS": "1", "OMP_NUM_THREADS": "2", "ONEDNN_VERBOSE": "0"}
    secret = ["AWS_SECRET_ACCESS_KEY", "HOME_OMP_X", "CHAINRULE_TOKEN", "OMP_password"]
    for name, value in [*kept.items(), *((name, "hunter2") for name in secret)]:
        monkeypatch.setenv(name, value)
    found = describe_environment(["chainrule"])
    assert found["variables"] == kept
    assert "hunter2" not in json.dumps(found)


def test_a_command_can_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    awkward = ["train", "--out", "my runs/it's", "$HOME", "a\nb", "", "--lr=0.1;ls"]
    monkeypatch.setattr(sys, "argv", ["/usr/local/bin/chainrule", *awkward])
    command = describe_environment()["command"]
    assert shlex.split(command) == ["chainrule", *awkward]
    monkeypatch.setattr(sys, "argv", ["/lib/chainrule/__main__.py", "train"])
    assert own_command() == ["python", "-m", "chainrule", "train"]
    monkeypatch.setattr(sys, "argv", ["/home/me/experiment.py", "--fast"])
    monkeypatch.setattr(sys, "orig_argv", ["python3", "-O", "experiment.py", "--fast"])
    assert own_command() == ["python3", "-O", "experiment.py", "--fast"]
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setattr(sys, "orig_argv", [])
    assert own_command() == [sys.executable]


def test_a_program_repeats_itself(tmp_path: Path) -> None:
    program = tmp_path / "my program.py"
    program.write_text(
        "from chainrule.training.environment import describe_environment\n"
        "print(describe_environment()['command'])\n"
    )
    paths = {**os.environ, "PYTHONPATH": str(Path(cr.__file__).parent.parent)}
    options = {"env": paths, "capture_output": True, "text": True, "check": True}
    command = [sys.executable, str(program), "a b"]
    first = subprocess.run(command, **options).stdout  # type: ignore[call-overload]
    again = subprocess.run(shlex.split(first), **options).stdout  # type: ignore[call-overload]
    assert again == first
    assert shlex.split(first)[1:] == [str(program), "a b"]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one file and one commit."""
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "file.txt").write_text("one")
    person = ["-c", "user.name=N", "-c", "user.email=n@example.org"]
    for arguments in (["init", "-q"], ["add", "."], [*person, "commit", "-q", "-m", "one"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)
    return folder


@needs_git
def test_revision_and_changes(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["git", "rev-parse", "HEAD"]
    head = subprocess.run(asked, cwd=repository, check=True, capture_output=True, text=True)
    clean = {"revision": head.stdout.strip(), "dirty": False}
    assert git_revision(repository) == clean
    (repository / "run").mkdir()
    (repository / "run" / "metrics.csv").write_text("of a run")
    assert git_revision(repository / "run") == clean
    (repository / "file.txt").write_text("two")
    assert git_revision(repository) == {**clean, "dirty": True}
    monkeypatch.chdir(repository)
    assert describe_environment()["git"] == {**clean, "dirty": True}


@needs_git
def test_a_repository_runs_no_program_of_its_own(repository: Path, tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {shlex.quote(str(tmp_path / 'ran'))}\n")
    hook.chmod(0o755)
    setting = ["git", "config", "core.fsmonitor", str(hook)]
    subprocess.run(setting, cwd=repository, check=True)
    status = ["git", "status", "--porcelain"]
    subprocess.run(status, cwd=repository, check=True, capture_output=True)
    assert (tmp_path / "ran").exists()  # so the setting does run it
    (tmp_path / "ran").unlink()
    assert git_revision(repository) is not None
    assert not (tmp_path / "ran").exists()


@needs_git
def test_folders_without_a_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_revision(tmp_path) is None
    assert git_revision(tmp_path / "absent") is None
    assert git_revision("nul\0byte") is None
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True, capture_output=True)
    assert git_revision(tmp_path) is None  # no commit yet


def test_git_that_is_absent_or_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_revision(".") is None
    slow = tmp_path / "git"
    slow.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(60)\n")
    slow.chmod(0o755)
    monkeypatch.setattr(environment, "_PATIENCE", 0.2)
    assert git_revision(".") is None


def test_a_backend_that_is_not_there_hides_nothing() -> None:
    program = (
        "from chainrule.training.environment import describe_environment; import json\n"
        "print(json.dumps(describe_environment()))"
    )
    paths = {"PYTHONPATH": str(Path(cr.__file__).parent.parent), "CHAINRULE_BACKEND": "nope"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **paths},
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(done.stdout)
    assert found["backend"] is None
    assert found["variables"]["CHAINRULE_BACKEND"] == "nope"
    assert found["numpy"]


def test_names_of_processors(tmp_path: Path) -> None:
    table = tmp_path / "cpuinfo"
    table.write_text("processor\t: 0\nmodel name\t: Some  CPU @ 3 GHz\nmodel name\t: second\n")
    assert processor_name(str(table)) == "Some CPU @ 3 GHz"
    table.write_text("processor\t: 0\nmodel name\t:\n")
    assert processor_name(str(table)) == processor_name(str(tmp_path / "absent"))
