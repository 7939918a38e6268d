"""`chainrule lab` as a process of its own, as somebody starts it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path


class Served:
    """A lab that answers at `address`; `said` is what it printed after that."""

    def __init__(self, runs: Path, *options: str) -> None:
        self.runs = runs
        command = [sys.executable, "-m", "chainrule", "lab", "--port", "0", "--runs", str(runs)]
        command += options
        # A shell that runs the tests in its background has Ctrl-C ignored, for children too.
        heard = None
        if sys.platform != "win32":
            heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=runs.parent,
            preexec_fn=heard,
        )
        assert self.process.stdout is not None
        found = None
        for line in self.process.stdout:
            found = re.search(r"http://\S+", line)
            if found:
                break
        assert found, f"the server ended with {self.process.wait()} before it said where it is"
        self.address = found[0].rstrip("/")
        # A pipe that nobody reads fills up, and then holds the server.
        self.said: list[str] = []
        self._reader = threading.Thread(target=self.said.extend, args=(self.process.stdout,))
        self._reader.start()

    def end(self, number: int = signal.SIGTERM, seconds: float = 60) -> int:
        """Send a signal and wait; gives the exit code.  Nothing is left, also where it hangs."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        finally:
            self.process.kill()
            self.process.wait()
            self._reader.join()
            assert self.process.stdout is not None
            self.process.stdout.close()
