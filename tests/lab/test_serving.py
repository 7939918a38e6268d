"""The server as a process: it answers soon, and ends without leaving or losing anything."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from chainrule.lab.serving import address, token_for
from chainrule.lab.settings import Settings
from tests.lab.process import Served


def visit(address: str) -> str:
    with urllib.request.urlopen(address, timeout=60) as answer:
        return str(answer.read().decode())


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
@pytest.mark.parametrize("path", ["/", "/look?net=run:small", "/look?net=model:resnet18"])
def test_ctrl_c_ends_it_in_the_middle_of_work(runs: Path, path: str) -> None:
    lab = Served(runs)
    try:
        assert "chainrule lab" in visit(lab.address + path)
        time.sleep(1)
    finally:
        code = lab.end(signal.SIGINT)
    # A thread within compiled code when the libraries are taken apart would crash.
    assert code == 0
    assert lab.said == ["Ctrl-C ends it\n"]


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


def test_the_address_can_be_opened_from_where_it_is_told() -> None:
    assert address(Settings(port=80)) == "http://127.0.0.1:80/"
    assert address(Settings(host="::1", port=80)) == "http://[::1]:80/"
    name = socket.gethostname()
    for host in ("0.0.0.0", "::"):
        assert address(Settings(host=host, port=80, token="t")) == f"http://{name}:80/?token=t"
    assert len({token_for("0.0.0.0") for _ in range(9)}) == 9
    assert not token_for("127.0.0.1")
