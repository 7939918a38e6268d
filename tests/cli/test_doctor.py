"""`chainrule doctor`: what it shows, when all is well and when something is not."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import chainrule as cr
from chainrule.cli import doctor
from chainrule.cli.main import main
from chainrule.engine import threads
from chainrule.engine.dispatch import FAST, NUMPY
from chainrule.errors import BackendError

LIBRARY = "CHAINRULE_ONEDNN_LIBRARY"
START = [sys.executable, "-c", "from chainrule.cli.main import main; main()", "doctor"]


def process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, under these variables and none of the user's."""
    ours = ("CHAINRULE_", "OMP_", "ONEDNN_", "FORCE_COLOR")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return subprocess.run(
        [*START, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**clean, **environment},
        timeout=120,
    )


def facts(code: int = 0, **environment: str) -> dict[str, Any]:
    done = process("--json", **environment)
    assert (done.returncode, done.stderr) == (code, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    def call(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(["doctor", *arguments])
        out, err = capsys.readouterr()
        assert err == ""
        return int(left.value.code or 0), out

    return call


Shown = Callable[..., tuple[int, str]]
KERNELS = {"path": "/x/libchainrule.so", "instruction_set": "AVX2", "reason": ""}
WITHOUT = f"missing        own kernels: without them {doctor.NO_KERNELS}; "


def test_it_shows_what_computes_here(shown: Shown) -> None:
    code, out = shown()
    assert code == 0
    backend = cr.current_backend()
    assert f"chainrule      {cr.__version__}\n" in out
    assert f"NumPy          {np.__version__}\n" in out
    assert f"backend        {backend.name}, by " in out
    assert f"threads        {threads.get_num_threads()}: " in out
    for pair in backend.table:
        assert pair.__name__ in out
    assert "\x1b" not in out
    library = importlib.import_module(f"chainrule.backends.{FAST}").about()
    if library["path"]:
        assert f"\n               {library['path']}\n" in out  # on a line of its own, uncut
        assert f"oneDNN         {library['version']} for {library['instruction_set']}\n" in out


def test_json_is_one_object_with_the_same_facts(shown: Shown) -> None:
    code, out = shown("--json")
    assert code == 0
    found = json.loads(out)
    backend = cr.current_backend()
    assert found["backend"]["name"] == backend.name
    assert found["backend"]["kernel_pairs"] == sorted(kind.__name__ for kind in backend.table)
    assert found["threads"]["count"] == threads.get_num_threads()
    assert found["chainrule"] == cr.__version__
    assert found["errors"] == []
    assert 0 <= found["backend"]["difference"] < 1e-5
    assert ("Conv" in found["backend"]["tried"]) is ("Conv" in found["backend"]["kernel_pairs"])


def test_numpy_alone_is_no_failure(tmp_path: Path) -> None:
    file = tmp_path / "text.so"
    file.write_text("no library" * 99)
    done = process(**{LIBRARY: str(file)})
    assert (done.returncode, done.stderr) == (0, "")  # no warning either: it is all in the text
    assert "backend        numpy, by default\n" in done.stdout
    assert "oneDNN         none that serves\n" in done.stdout
    assert f"  not used     {file}: it cannot be loaded" in done.stdout
    (missing,) = (line for line in done.stdout.splitlines() if line.startswith("missing  "))
    assert "oneDNN: " in missing
    assert str(file) in missing
    assert "nothing is missing" not in done.stdout
    found = facts(**{LIBRARY: str(tmp_path / "nowhere")})
    assert found["backend"]["name"] == "numpy"
    assert found["backend"]["kernel_pairs"] == found["backend"]["tried"] == []
    assert found["onednn"]["version"] is None
    assert found["onednn"]["refused"] == [
        {"path": str(tmp_path / "nowhere"), "reason": "there is no such file"}
    ]


def test_a_processor_without_avx2() -> None:
    if cr.current_backend().name != FAST or " " not in facts()["platform"]:
        pytest.skip("no library serves here")
    if not facts()["platform"].endswith(("x86_64", "AMD64")):
        pytest.skip("an instruction set of x86")
    found = facts(ONEDNN_MAX_CPU_ISA="SSE41")
    assert found["backend"]["name"] == "numpy"
    assert "AVX2 is needed" in found["onednn"]["refused"][0]["reason"]
    assert any("AVX2 is needed" in text for text in found["missing"])


def test_kernels_of_our_own(monkeypatch: pytest.MonkeyPatch, shown: Shown) -> None:
    library = {"version": "3.9", "refused": [], "instruction_set": "AVX2", "path": "/y"}
    monkeypatch.setattr(doctor, "_library", lambda: {**library, "reason": ""})
    monkeypatch.setattr(doctor, "_kernels", lambda: KERNELS)
    out = shown()[1]
    assert "own kernels    compiled for AVX2\n               /x/libchainrule.so\n" in out
    assert WITHOUT not in out
    none = {"path": None, "instruction_set": None, "reason": "they were not built"}
    monkeypatch.setattr(doctor, "_kernels", lambda: none)
    code, out = shown()
    assert code == 0  # oneDNN serves all the same
    assert "own kernels    none that serve\n" in out
    assert f"\n{WITHOUT}they were not built\n" in out
    assert json.loads(shown("--json")[1])["kernels"] == none
    # Where oneDNN is missing, its own line is what matters.
    absent = {"version": None, "refused": [], "reason": "no libdnnl.so.3 was found"}
    monkeypatch.setattr(doctor, "_library", lambda: absent)
    assert WITHOUT not in shown()[1]


def test_kernels_of_our_own_under_variables(tmp_path: Path) -> None:
    if cr.current_backend().name != FAST:
        pytest.skip("no library serves here")
    off = facts(CHAINRULE_KERNELS="off")
    reason = "CHAINRULE_KERNELS=off keeps them out of use"
    assert off["kernels"] == {"path": None, "instruction_set": None, "reason": reason}
    assert any(text.startswith("own kernels: ") and reason in text for text in off["missing"])
    assert off["backend"]["name"] == FAST
    without = facts(**{LIBRARY: str(tmp_path / "nowhere")})
    assert "on whose threads they run, does not serve" in without["kernels"]["reason"]
    wrong = facts(CHAINRULE_KERNELS="perhaps")
    assert any("CHAINRULE_KERNELS: expected 0 or off" in text for text in wrong["missing"])
    if facts()["kernels"]["path"]:
        capped = facts(ONEDNN_MAX_CPU_ISA="AVX2")
        assert capped["kernels"]["instruction_set"] == "AVX2"
        assert capped["kernels"]["path"].endswith("libchainrule.so")


def test_who_chose_the_backend(shown: Shown) -> None:
    by_variable = facts(CHAINRULE_BACKEND="numpy")
    assert by_variable["backend"]["chosen_by"] == "CHAINRULE_BACKEND"
    assert facts()["backend"]["chosen_by"] == "default"
    if by_variable["onednn"]["version"]:
        assert by_variable["missing"][0].startswith(
            "oneDNN is here and not used (CHAINRULE_BACKEND)"
        )
    with cr.use_backend("numpy"):
        found = json.loads(shown("--json")[1])
    assert found["backend"]["name"] == "numpy"
    if found["onednn"]["version"]:
        assert found["backend"]["chosen_by"] == "use_backend"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"CHAINRULE_BACKEND": "cuda"}, "no backend is named 'cuda'"),
        ({"CHAINRULE_BACKEND": "a b"}, "expected the name of a backend, got 'a b'"),
        (
            {"CHAINRULE_BACKEND": "onednn", LIBRARY: "/nowhere.so"},
            "CHAINRULE_BACKEND=onednn: /nowhere.so: there is no such file",
        ),
        ({"CHAINRULE_NUM_THREADS": "many"}, "a whole number from 1 to 1024; got value 'many'"),
    ],
)
def test_where_operations_fail_it_says_why_and_shows_the_rest(
    variables: dict[str, str], said: str
) -> None:
    done = process(**variables)
    assert done.returncode == 1
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert any(line.startswith("error  ") and said in line for line in lines), lines
    assert f"NumPy          {np.__version__}" in lines
    assert "Traceback" not in done.stdout
    assert any(said in error for error in facts(1, **variables)["errors"])


@pytest.mark.parametrize(
    ("variables", "source"),
    [
        ({"CHAINRULE_NUM_THREADS": "3", "OMP_NUM_THREADS": "2"}, "CHAINRULE_NUM_THREADS"),
        ({"OMP_NUM_THREADS": "3,1"}, "OMP_NUM_THREADS"),
    ],
)
def test_where_the_threads_come_from(variables: dict[str, str], source: str) -> None:
    found = facts(**variables)["threads"]
    assert (found["count"], found["source"]) == (3, source)
    assert found["processors"] == os.cpu_count()
    assert f"threads        3: {source}; the machine has " in process(**variables).stdout


def test_threads_that_no_variable_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (threads.OURS, threads.OPENMP):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "BUDGET", threads.Budget())
    affinity = getattr(os, "sched_getaffinity", None)
    monkeypatch.setattr(threads, "cpu_quota", lambda: None)
    assert doctor._threads()["source"] == ("affinity" if affinity else "processors")
    if affinity and len(affinity(0)) > 1:
        monkeypatch.setattr(threads, "BUDGET", threads.Budget())
        monkeypatch.setattr(threads.BLAS, "_libraries", [])
        monkeypatch.setattr(threads, "cpu_quota", lambda: 1)
        assert doctor._threads() == {
            "count": 1,
            "source": "cgroup quota",
            "processors": os.cpu_count(),
        }
    monkeypatch.setattr(threads.BUDGET, "_threads", 77)
    assert doctor._threads()["source"] == "set_num_threads"


def test_blas_is_named_and_told_to_be_held(monkeypatch: pytest.MonkeyPatch, shown: Shown) -> None:
    class Library:
        num_threads = 1

        def info(self) -> dict[str, Any]:
            return {
                "internal_api": "openblas",
                "version": "0.3",
                "num_threads": 1,
                "filepath": "/x/libopenblas.so",
            }

    monkeypatch.setattr(threads.BLAS, "_libraries", [Library()])
    monkeypatch.setattr(threads.BLAS, "held", 1)
    assert "BLAS           openblas 0.3: 1 thread, held" in shown()[1]
    monkeypatch.setattr(threads.BLAS, "held", 0)
    assert "BLAS           openblas 0.3: 1 thread\n" in shown()[1]
    monkeypatch.setattr(threads.BLAS, "_libraries", [])
    assert "BLAS           none whose threads can be steered\n" in shown()[1]


def test_what_the_extras_would_bring(monkeypatch: pytest.MonkeyPatch, shown: Shown) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name in doctor.EXTRAS:
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    code, out = shown()
    assert code == 0
    known = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))[
        "project"
    ]
    for name, (extra, without) in doctor.EXTRAS.items():
        assert any(line.startswith(f"{name}>=") for line in known["optional-dependencies"][extra])
        line = f"missing        {name}: without it {without}; pip install 'chainrule[{extra}]'"
        assert line in out
    monkeypatch.setattr(metadata, "version", lambda name: "1.2")
    monkeypatch.setattr(doctor, "_library", lambda: {"version": "3.9", "reason": "",
        "refused": [], "instruction_set": "AVX2", "path": "/x"})  # fmt: skip
    monkeypatch.setattr(doctor, "_kernels", lambda: KERNELS)
    monkeypatch.setattr(doctor, "current_backend", lambda: type(NUMPY)(FAST))
    assert shown()[1].endswith("\nnothing is missing\n")


def test_a_backend_that_computes_wrongly_is_told(
    monkeypatch: pytest.MonkeyPatch, shown: Shown
) -> None:
    for wrong in (0.3, float("nan")):
        monkeypatch.setattr(doctor, "_difference", lambda wrong=wrong: wrong)
        code, out = shown()
        assert code == 1
        assert "error          the backend computes a convolution wrongly" in out


def test_nothing_that_goes_wrong_is_a_traceback(
    monkeypatch: pytest.MonkeyPatch, shown: Shown
) -> None:
    def fail(*_: object) -> Any:
        raise BackendError("oneDNN: runtime_error (status 5) from conv")

    monkeypatch.setattr(doctor, "conv2d", fail)
    monkeypatch.setattr(doctor, "_blas", fail)
    monkeypatch.setattr(doctor, "import_module", fail)
    code, out = shown()
    assert code == 1
    assert "status 5" in out
    assert "threads        " in out


def test_colours_are_for_terminals(monkeypatch: pytest.MonkeyPatch, shown: Shown) -> None:
    def terminal(**options: Any) -> Console:
        return Console(force_terminal=True, color_system="standard", width=40, **options)

    monkeypatch.setattr(doctor, "Console", terminal)
    assert "\x1b[1mbackend" in shown()[1]


def test_a_closed_pipe_and_an_ascii_terminal() -> None:
    done = process(PYTHONIOENCODING="ascii", LC_ALL="C", COLUMNS="20")
    assert (done.returncode, done.stderr) == (0, "")
    assert "  kernel pairs" in done.stdout or "numpy" in done.stdout


def test_what_it_must_not_load() -> None:
    program = (
        "import sys; sys.argv = ['chainrule', 'doctor']; import io, contextlib\n"
        "from chainrule.cli.main import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): main()\n"
        "heavy = ['torch', 'matplotlib', 'sklearn', 'scipy', 'PIL', 'chainrule.training']\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_importing_chainrule_looks_for_no_backend() -> None:
    program = (
        "import sys, chainrule, chainrule.ops, chainrule.nn, chainrule.models\n"
        "late = ['chainrule.backends', 'threadpoolctl', 'importlib.metadata', 'ctypes.util']\n"
        "print([name for name in late if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
