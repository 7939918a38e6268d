"""Networks written as a line: [(CONV-RELU)*2-POOL]*3-(FC-RELU)*1,SOFTMAX."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from chainrule.engine.tensor import Tensor
from chainrule.errors import ShapeError, failure
from chainrule.models.common import he, images, initialise
from chainrule.nn import (
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    Module,
    ReLU,
)
from chainrule.nn.fusing import Chain, chain

_TOKEN = re.compile(
    r"\s*(?:(?P<open>[\[(])|(?P<close>[\])])|\*\s*(?P<times>\d{1,9})|(?P<join>[-,])"
    r"|(?P<word>[A-Za-z]+)(?P<size>\d+(?:x\d+)?)?(?::(?P<setting>[0-9.]+))?(?P<perhaps>\?)?)"
)
WORDS = ("CONV", "RELU", "POOL", "FC", "SOFTMAX", "NORM", "LRN", "DROPOUT")
CLOSING = {"[": "]", "(": ")"}
MOST = 10_000
"""Layers that a repetition may make; a slip of the hand would fill the memory."""


class Word(NamedTuple):
    """One layer as it is written: CONV5:32 is a convolution of 5x5 with 32 filters."""

    kind: str
    size: int | None
    setting: float | None
    perhaps: bool


def is_pattern(name: str) -> bool:
    """Tell whether a network's name is a pattern rather.

    >>> is_pattern("[(CONV-RELU)*2-POOL]*2-FC,SOFTMAX"), is_pattern("vgg16")
    (True, False)
    >>> is_pattern("conv5-fc:100"), is_pattern("ResNet-50"), is_pattern("softmax")
    (True, False, False)
    """
    if any(mark in name for mark in "[](),*"):
        return True
    words = [re.split(r"[^A-Za-z]", part, maxsplit=1)[0] for part in name.split("-")]
    return any(word in WORDS or (len(words) > 1 and word.upper() in WORDS) for word in words)


def parse(text: str) -> list[Word]:
    """Write a pattern out, one word a layer; ShapeError tells where it cannot be read.

    >>> [word.kind for word in parse("[(CONV-RELU)*2-POOL]*1-SOFTMAX")]
    ['CONV', 'RELU', 'CONV', 'RELU', 'POOL', 'SOFTMAX']
    """
    groups: list[tuple[str, list[Word]]] = [("", [])]
    last: list[Word] = []  # what a following *N repeats
    joined = True
    for place, found in _tokens(text):
        rest = text[place:]
        if found["open"]:
            groups.append((found["open"], []))
            joined = True
        elif found["close"]:
            opened, last = groups.pop() if len(groups) > 1 else ("", [])
            if CLOSING.get(opened) != found["close"]:
                raise _unreadable(text, f"nothing open for {found['close']!r} at {rest!r}")
            groups[-1][1].extend(last)
            joined = False
        elif found["times"]:
            if joined:
                raise _unreadable(text, f"nothing to repeat before {rest!r}")
            kept, times = groups[-1][1], int(found["times"])
            if len(last) * times > MOST:
                raise _unreadable(text, f"more than {MOST:,} layers")
            del kept[len(kept) - len(last) :]
            last = last * times
            kept.extend(last)
        elif found["join"]:
            joined = True
        else:
            if not joined:
                raise _unreadable(text, f"- or , before {rest!r}")
            last = [_word(text, found)]
            groups[-1][1].extend(last)
            joined = False
    if len(groups) > 1:
        raise _unreadable(text, f"no {CLOSING[groups[-1][0]]!r} for the last {groups[-1][0]!r}")
    return groups[0][1]


def _tokens(text: str) -> Iterator[tuple[int, re.Match[str]]]:
    at = 0
    while at < len(text.rstrip()):
        found = _TOKEN.match(text, at)
        if found is None:
            raise _unreadable(text, f"{text[at:]!r} cannot be read")
        yield at, found
        at = found.end()


def _word(text: str, found: re.Match[str]) -> Word:
    kind = found["word"].upper()
    if kind not in WORDS:
        raise _unreadable(text, f"{found['word']!r} is none of {', '.join(WORDS)}")
    sizes = [int(part) for part in (found["size"] or "").split("x") if part]
    if len(set(sizes)) > 1 or 0 in sizes:
        raise _unreadable(text, f"a square window in {found[0].strip()!r}")
    setting = float(found["setting"]) if found["setting"] else None
    return Word(kind, sizes[0] if sizes else None, setting, bool(found["perhaps"]))


def _unreadable(text: str, why: str) -> Exception:
    rule = "a pattern like [(CONV-RELU)*2-POOL]*2-(FC-RELU)*1,SOFTMAX"
    return failure("create_model", rule, error=ShapeError, hint=why, name=text)


class PatternNet(Module):
    """The network that a pattern writes down.

    Source: deck 002, [(CONV-RELU)*N-POOL?]*M-(FC-RELU)*K,SOFTMAX.

    Words, joined by - or , and repeated by *N: CONV (3x3, keeps the size; CONV5:32 is 5x5 with 32
    filters), RELU, POOL (2x2, halves the size; POOL3:2 is 3x3 at stride 2), NORM (batch norm), LRN,
    DROPOUT (0.5; DROPOUT:0.2), FC (FC:100 has 100 units) and at the end SOFTMAX, the linear layer
    that gives the scores (without softmax, as everywhere).  "POOL?" is left out where there is
    nothing left to halve.  Without numbers the first CONV has `width` filters, and from each POOL
    on twice as many, up to 512; an FC has 256 units.

    Input (N, in_channels, image_size, image_size), output (N, num_classes) scores; `features` gives
    what the last layer reads.  Initial weights follow He's rule, biases are 0.  Raises ValueError
    for a pattern that cannot be read or that does not fit, with the place.

    >>> import chainrule as cr
    >>> model = PatternNet("[(CONV-RELU)*2-POOL]*2-(FC:100-RELU)*1,SOFTMAX", 10, 3)
    >>> model(cr.zeros(2, 3, 32, 32)).shape, model.features(cr.zeros(2, 3, 32, 32)).shape
    ((2, 10), (2, 100))
    """

    def __init__(
        self,
        pattern: str,
        num_classes: int = 10,
        in_channels: int = 3,
        image_size: int = 32,
        width: int = 32,
    ) -> None:
        super().__init__()
        self.pattern, self.image_size = pattern, image_size
        words = parse(pattern)
        if not words or words[-1].kind != "SOFTMAX" or sum(w.kind == "SOFTMAX" for w in words) > 1:
            raise _unreadable(pattern, "one SOFTMAX, at the end")
        layers, inputs = _Builder(pattern, in_channels, image_size, width).build(words[:-1])
        self.layers = Chain(*layers)
        self.fc = Linear(inputs, num_classes)
        initialise(self, he)

    def features(self, x: Tensor) -> Tensor:
        """Give what the last layer classifies: (N, C, side, side) -> (N, D)."""
        x = images("PatternNet", x)
        side = self.image_size
        if tuple(x.shape[2:]) != (side, side):
            hint = "image_size makes it for others"
            raise failure("PatternNet", f"images (N, C, {side}, {side})", hint=hint, input=x)
        y: Tensor = chain(self.layers, x)
        return y

    embed = features

    def forward(self, x: Tensor) -> Tensor:
        """Give the scores of the classes: (N, C, side, side) -> (N, num_classes)."""
        scores: Tensor = self.fc(self.features(x))
        return scores


class _Builder:
    """Makes the layers of the words in turn, following the shape."""

    def __init__(self, pattern: str, channels: int, side: int, width: int) -> None:
        self.pattern, self.channels, self.side, self.width = pattern, channels, side, width
        self.units: int | None = None  # of the last dense layer; None while there are maps
        self.layers: list[Module] = []

    def build(self, words: list[Word]) -> tuple[list[Module], int]:
        """Give the layers and how many numbers the last one gives."""
        for word in words:
            make = getattr(self, f"_{word.kind.lower()}")
            make(word)
        return self.layers, self._flat()

    def _flat(self) -> int:
        if self.units is None:
            self.layers.append(Flatten())
            self.units = self.channels * self.side**2
        return self.units

    def _maps(self, word: Word) -> None:
        if self.units is not None:
            raise _unreadable(self.pattern, f"{word.kind} before the first FC: it needs maps")

    def _conv(self, word: Word) -> None:
        self._maps(word)
        kernel, filters = word.size or 3, int(word.setting or self.width)
        if filters < 1:
            raise _unreadable(self.pattern, f"CONV:{word.setting:g} has no filter")
        self.layers.append(Conv2d(self.channels, filters, kernel, padding="same"))
        self.channels = filters

    def _pool(self, word: Word) -> None:
        self._maps(word)
        kernel = word.size or 2
        stride = int(word.setting or kernel)
        if kernel > self.side:
            if word.perhaps:
                return
            why = f"a POOL of {kernel}x{kernel} where maps are {self.side}x{self.side}"
            raise _unreadable(self.pattern, why)
        self.layers.append(MaxPool2d(kernel, stride))
        self.side = (self.side - kernel) // stride + 1
        self.width = min(512, 2 * self.width)

    def _fc(self, word: Word) -> None:
        inputs, self.units = self._flat(), int(word.setting or word.size or 256)
        self.layers.append(Linear(inputs, self.units))

    def _relu(self, word: Word) -> None:
        self.layers.append(ReLU())

    def _norm(self, word: Word) -> None:
        self._maps(word)
        self.layers.append(BatchNorm2d(self.channels))

    def _lrn(self, word: Word) -> None:
        self._maps(word)
        self.layers.append(LocalResponseNorm(5))

    def _dropout(self, word: Word) -> None:
        self.layers.append(Dropout(0.5 if word.setting is None else word.setting))
