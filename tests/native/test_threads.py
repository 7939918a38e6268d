"""A caller that meets OpenMP's helper on its processor keeps the helper off it, and nothing else.

Each case runs in a process of its own, since the helpers' affinities last as long as they do.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chainrule.native.library import wanted

ROOT = Path(__file__).parents[2]
affinity = getattr(os, "sched_getaffinity", lambda _: ())

pytestmark = [
    pytest.mark.skipif(len(affinity(0)) < 2, reason="one processor alone, or not Linux"),
    pytest.mark.skipif(not wanted(), reason="our own kernels are switched off"),
]

START = """
import os
from chainrule.engine.dispatch import use_backend
from chainrule.engine.threads import set_num_threads
use_backend("onednn")
from chainrule.backends.onednn.runtime import Current

kernels = Current.runtime.kernels
assert kernels is not None, Current.runtime.kernels_reason
get, put, every = os.sched_getaffinity, os.sched_setaffinity, os.sched_getaffinity(0)
here, there = sorted(every)[:2]

def tasks():
    return set(map(int, os.listdir("/proc/self/task")))

before = tasks()
put(0, {here})  # where one processor is all there is, no call moves anybody
for _ in range(9):
    kernels.settle(2)
(helper,) = tasks() - before
assert get(helper) == {here}, "the helper has its caller's processors"

def meet():
    # Linux may wake the caller elsewhere, where the two do not meet: then again.
    for attempt in range(1000):
        put(helper, {here})
        put(0, {here})
        put(0, every)
        kernels.settle(2)
        assert get(0) == every, "the caller's own processors are its own"
        if get(helper) != {here}:
            return
    raise AssertionError("the helper was never kept off")
"""

CASES = {
    "met": """
meet()
assert get(helper) == every - {here}, get(helper)
""",
    "patience": """
meet()
put(helper, {here})
put(0, {here})
put(0, every)
for call in range(2):
    kernels.settle(2)
    assert get(helper) == {here}, call
meet()
""",
    "alone": """
put(0, {here})
for place in (here, there):
    put(helper, {place})
    for _ in range(20):
        kernels.settle(2)
    assert get(helper) == {place}, "the caller has no other processor, or is not there"
assert get(0) == {here}
""",
}


@pytest.mark.parametrize("case", CASES)
def test_a_helper_on_its_callers_processor(case: str) -> None:
    found = subprocess.run(
        [sys.executable, "-c", START + CASES[case] + 'print("right")'],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "CHAINRULE_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert found.stdout.strip() == "right", found.stderr[-3000:]
