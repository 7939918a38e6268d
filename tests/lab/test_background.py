"""Pictures made in the background: once each, the newest first, and no longer than asked for."""

from __future__ import annotations

import threading
import time

import pytest

from chainrule.errors import DataError
from chainrule.lab import background as module
from chainrule.lab.background import Drawing, Drawings, Made


def made(name: str, size: int = 3) -> Made:
    return Made(b"x" * size, name)


def test_ten_clicks_make_one_picture() -> None:
    drawings, calls, gate = Drawings(), [], threading.Event()

    def make(drawing: Drawing) -> Made:
        calls.append(drawing)
        gate.wait(10)
        return made("one")

    asked = [drawings.ask("key", make, drawings.turn()) for _ in range(10)]
    gate.set()
    assert drawings.wait(asked[-1], 10).made == made("one")
    assert len({id(drawing) for drawing in asked}) == 1
    assert drawings.ask("key", make) is asked[0]  # kept
    assert len(calls) == 1


def test_the_newest_page_comes_first_and_the_order_within_it_stays() -> None:
    drawings, order = Drawings(), []
    begun, gate = threading.Event(), threading.Event()
    drawings.ask("holds the thread", lambda drawing: (begun.set(), gate.wait(10), made(""))[2])
    assert begun.wait(10)
    for turn in (1, 2):
        for name in "abc":
            key = f"{name}{turn}"
            drawings.ask(key, lambda d, key=key: (order.append(key), made(key))[1], turn)
    gate.set()
    for key in ("a1", "b1", "c1"):
        assert drawings.wait(drawings.ask(key, lambda drawing: made("never")), 10).done
    assert order == ["a2", "b2", "c2", "a1", "b1", "c1"]


def test_what_is_slow_holds_nobody_back() -> None:
    drawings, gate = Drawings(), threading.Event()
    slow = drawings.ask("slow", lambda drawing: (gate.wait(10), made("slow"))[1], slow=True)
    quick = drawings.ask("quick", lambda drawing: made("quick"))
    assert drawings.wait(quick, 10).made == made("quick")
    assert not slow.done
    gate.set()
    assert drawings.wait(slow, 10).made == made("slow")


def test_what_nobody_asks_for_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.3)
    drawings, steps = Drawings(), []

    def endless(drawing: Drawing) -> Made:
        while True:
            steps.append(time.monotonic())
            drawing.step()
            time.sleep(0.01)

    begun = drawings.ask("a", endless)
    waits = drawings.ask("b", lambda drawing: made("nobody waits for it"))
    waits.asked -= 0.1  # before the one that runs
    while not steps or time.monotonic() - steps[-1] < 0.5:
        time.sleep(0.1)
    assert not begun.done
    assert not waits.done
    count = len(steps)
    assert 1 < count < 100
    time.sleep(0.2)
    assert len(steps) == count  # it has ended
    again = drawings.ask("a", lambda drawing: made("again"))
    assert again is not begun
    assert drawings.wait(again, 10).made == made("again")


def test_whoever_waits_keeps_it_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.3)

    def long(drawing: Drawing) -> Made:
        for _ in range(100):
            drawing.step()
            time.sleep(0.01)
        return made("long")

    drawings = Drawings()
    assert drawings.wait(drawings.ask("a", long), 20).made == made("long")


def test_refusals_are_kept_and_accidents_are_tried_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawings, calls = Drawings(), []

    def refuse(drawing: Drawing) -> Made:
        calls.append("refuse")
        raise DataError("expected a layer that gives maps")

    def stumble(drawing: Drawing) -> Made:
        calls.append("stumble")
        raise MemoryError("no room")

    for _ in range(3):
        refused = drawings.wait(drawings.ask("r", refuse), 10)
        failed = drawings.wait(drawings.ask("s", stumble), 10)
    assert refused.words == "expected a layer that gives maps"
    assert failed.words == "this failed here (MemoryError: no room); look again later"
    assert "no room" in capsys.readouterr().err
    assert sorted(calls) == ["refuse", "stumble"]
    monkeypatch.setattr(module, "_AGAIN", 0.0)
    for _ in range(2):
        drawings.wait(drawings.ask("r", refuse), 10)
        drawings.wait(drawings.ask("s", stumble), 10)
    assert sorted(calls) == ["refuse", "stumble", "stumble", "stumble"]


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    monkeypatch.setattr(module, "MOST", 5)
    drawings, calls = Drawings(), []

    def make(key: int, size: int) -> Drawing:
        def work(drawing: Drawing) -> Made:
            calls.append(key)
            return made(str(key), size)

        return drawings.wait(drawings.ask(key, work), 10)

    for key in range(4):
        make(key, 300)
    assert len(drawings._known) == 3
    make(1, 300)
    assert calls == [0, 1, 2, 3]  # 1 was there, and was asked for last
    make(4, 300)
    make(1, 300)
    assert calls == [0, 1, 2, 3, 4]
    for key in range(5, 20):
        make(key, 0)
    assert len(drawings._known) <= 5
    assert all(drawing.make is None for drawing in drawings._known.values())


def test_the_size_is_read_from_the_file() -> None:
    head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x01\0\0\0\0\x07"
    assert Made(head, "").size == (256, 7)


def test_the_end_gives_up_what_is_under_way() -> None:
    drawings, begun = Drawings(), threading.Event()

    def endless(drawing: Drawing) -> Made:
        while True:
            begun.set()
            drawing.step()
            time.sleep(0.01)

    drawing = drawings.ask("a", endless, slow=True)
    assert begun.wait(10)
    assert drawings.close(10)
    assert not drawing.done
    late = drawings.ask("b", lambda drawing: made("late"))
    assert not drawings.wait(late, 10).done  # at once, and without a new thread
    assert Drawings().close(0)


def test_the_end_waits_for_a_step_only_so_long() -> None:
    drawings, begun, gate = Drawings(), threading.Event(), threading.Event()

    def long(drawing: Drawing) -> Made:
        begun.set()
        gate.wait(30)
        return made("done all the same")

    drawings.ask("a", long)
    assert begun.wait(10)
    assert not drawings.close(0.2)
    gate.set()
    assert drawings.close(10)
