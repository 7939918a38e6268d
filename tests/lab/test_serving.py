"""The server as a process: it answers soon, and ends without leaving or losing anything."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest


def started(runs: Path) -> tuple[subprocess.Popen[str], str]:
    """Start a lab; gives its process and address."""
    command = [sys.executable, "-m", "chainrule", "lab", "--port", "0", "--runs", str(runs)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"http://\S+", line):
            return process, found[0].rstrip("/")
    raise AssertionError(f"the server ended with {process.wait()}")


def visit(address: str) -> str:
    with urllib.request.urlopen(address, timeout=60) as answer:
        return str(answer.read().decode())


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
@pytest.mark.parametrize("path", ["/", "/look?net=run:small", "/look?net=model:resnet18"])
def test_ctrl_c_ends_it_in_the_middle_of_work(runs: Path, path: str) -> None:
    process, address = started(runs)
    try:
        assert "chainrule lab" in visit(address + path)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        # A thread within compiled code when the libraries are taken apart would crash.
        assert process.wait(60) == 0
        assert process.stdout is not None
        assert process.stdout.read() == "Ctrl-C ends it\n"
    finally:
        process.kill()
        process.communicate()


def test_the_first_paint_loads_nothing_heavy(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from chainrule.lab import Settings, create_app
client = create_app(Settings(Path(sys.argv[1]))).test_client()
assert client.get("/").status_code == 200
assert client.get("/static/lab.css").status_code == 200
print(*(name for name in ("matplotlib", "sklearn", "pygraphviz", "PIL", "scipy", "plotly")
        if name in sys.modules))
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == ""
