"""What every test starts from, and must leave as it was."""

from __future__ import annotations

import importlib.util
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

import chainrule as cr
from chainrule.engine.dispatch import current_backend
from chainrule.engine.state import ANOMALY, GRAD, TRACER

pytest.register_assert_rewrite("tests.checks")

# PyTorch is in no environment but the one of `make parity`.
collect_ignore = [] if importlib.util.find_spec("torch") else ["parity"]

# A shell's background ignores Ctrl-C; tests that send it would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples every time, however slow the machine is today.
settings.register_profile("chainrule", deadline=None, derandomize=True)
settings.load_profile("chainrule")


def thread_state() -> tuple[object, ...]:
    """Give the modes that a test could leave switched."""
    return GRAD.get(), ANOMALY.get(), TRACER.get(), current_backend()


@pytest.fixture(autouse=True)
def _same_start() -> Iterator[None]:
    """Seed the global generator, so that no test depends on those before it; look for leaks."""
    cr.manual_seed(0)
    before = thread_state()
    yield
    assert thread_state() == before, "the test left a mode switched"
