"""Pickles are read, never run."""

from __future__ import annotations

import collections
import contextlib
import io
import os
import pickle
import random
import warnings
from pathlib import Path
from typing import Any

import pytest

from chainrule.errors import CheckpointError
from chainrule.formats.pickles import Built, read_pickle

DATA: list[Any] = [
    None, True, False, 0, 1, -1, 255, 256, 65536, -(2**31), 2**31, 2**80, -(2**80), 1.5, -0.0,
    float("inf"), "", "text", "ä" * 300, b"", b"bytes" * 100, [], [1, [2, [3]]], (), (1,), (1, 2),
    (1, 2, 3), (1, 2, 3, 4), {}, {"a": {"b": 1}}, {1, 2}, frozenset({3}), [None] * 2000,
    {k: str(k) for k in range(2000)},
]  # fmt: skip


@pytest.mark.parametrize("protocol", range(6))
def test_data_comes_back(protocol: int) -> None:
    # Before protocol 3 bytes are written as a call of _codecs.encode.
    kept = [value for value in DATA if protocol > 2 or not isinstance(value, bytes)]
    for value in [*kept, kept]:
        found = read_pickle(io.BytesIO(pickle.dumps(value, protocol)), {})
        assert found == value
        assert type(found) is type(value)


def test_what_is_shared_stays_shared_and_order_is_kept() -> None:
    part = [1]
    pairs = collections.OrderedDict([("b", part), ("a", part)])
    found = read_pickle(io.BytesIO(pickle.dumps(pairs, 2)), {})
    assert list(found) == ["b", "a"]
    assert found["a"] is found["b"]


class Calls:
    """Pickles itself as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> Any:
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.system, ("touch never",), r"(posix|nt)\.system"),
        (eval, ("1",), r"\.eval"),
        (exec, ("1",), r"\.exec"),
        (getattr, ("x", "y"), r"\.getattr"),
        (__import__, ("os",), r"\.__import__"),
        (bytearray, (10**9,), r"\.bytearray"),
        (Path, ("x",), "pathlib"),
    ],
)
def test_calls_are_refused_by_name(
    protocol: int, function: Any, arguments: Any, name: str, tmp_path: Path
) -> None:
    text = pickle.dumps({"weight": Calls(function, *arguments)}, protocol)
    with pytest.raises(CheckpointError, match=rf"would call \S*{name}\S*, which is refused"):
        read_pickle(io.BytesIO(text), {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text",
    [
        b"cos\nsystem\n(S'true'\ntR.",  # GLOBAL, REDUCE
        b"(S'true'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'true'\no.",  # OBJ
        b"\x80\x02cos\nsystem\n)\x81.",  # NEWOBJ
        b"\x80\x04\x8c\x02os\x8c\x06system\x93)R.",  # STACK_GLOBAL
        b"\x80\x02\x82\x01.",  # EXT1
        b"(cos\nsystem\nS'true'\ntR.",
        b"\x80\x02}(X\x01\x00\x00\x00acos\nsystem\nX\x04\x00\x00\x00true\x85Ru.",
    ],
)
def test_every_way_to_call_is_refused(text: bytes) -> None:
    with pytest.raises(CheckpointError):
        read_pickle(io.BytesIO(text), {})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"\x80\x04cbuiltins\nset\n)}X\x01\x00\x00\x00aK\x01s\x92.", "with named arguments"),
        (b"\x80\x04K\x01K\x02\x93.", "a name that is no text"),
        (b"\x80\x02cbuiltins\nset\nK\x01R.", "arguments that are no tuple"),
        (b"\x80\x02K\x01)R.", "a value of its own, not a name"),
    ],
)
def test_calls_that_data_does_not_make_are_refused(text: bytes, why: str) -> None:
    """Of names, too, whose functions are known."""
    with pytest.raises(CheckpointError, match=why):
        read_pickle(io.BytesIO(text), {})


def test_a_name_that_is_not_called_is_only_a_name() -> None:
    assert str(read_pickle(io.BytesIO(b"cos\nsystem\n."), {})) == "os.system"


def test_nothing_can_be_hung_on_what_was_read() -> None:
    """BUILD would call __setstate__ or write attributes."""
    text = b"\x80\x02}}X\x03\x00\x00\x00keyK\x01sb."
    assert read_pickle(io.BytesIO(text), {}) == {}


class Taken(Built):
    """Wants to know what is set on it."""

    state: Any = None

    def build(self, state: Any) -> None:
        if state == "wrong":
            raise ValueError("a wrong state")
        self.state = state


def test_what_a_known_name_gave_may_take_its_state() -> None:
    known = {"a.b": Taken}
    found = read_pickle(io.BytesIO(b"\x80\x02ca\nb\n)RX\x03\x00\x00\x00keyb."), known)
    assert found.state == "key"
    with pytest.raises(CheckpointError, match=r"not a whole pickle \(a wrong state"):
        read_pickle(io.BytesIO(b"\x80\x02ca\nb\n)RX\x05\x00\x00\x00wrongb."), known)


@pytest.mark.parametrize("seed", range(8))
def test_changed_bytes_are_read_or_refused(seed: int) -> None:
    rng = random.Random(seed)
    whole = pickle.dumps({"list": DATA, "names": {str(k): k for k in range(20)}}, 4)
    for _ in range(400):
        text = bytearray(whole)
        for _ in range(rng.choice([1, 2, 5, 30])):
            at = rng.randrange(len(text))
            how = rng.randrange(3)
            if how == 0:
                text[at] = rng.randrange(256)
            elif how == 1:
                del text[at : at + rng.randrange(1, 9)]
            else:
                text[at:at] = rng.randbytes(rng.randrange(1, 9))
        with contextlib.suppress(CheckpointError), warnings.catch_warnings(action="ignore"):
            read_pickle(io.BytesIO(bytes(text)), {})
