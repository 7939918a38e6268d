from __future__ import annotations

import io
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
from rich.console import Console

from chainrule.cli.progress import ProgressDisplay
from chainrule.training import Row, RunningMeter, TrainConfig


def shown(terminal: bool, width: int = 140) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=width, highlight=False)
    config = TrainConfig(epochs=2, batch_size=8)
    with ProgressDisplay(config, 20, console) as display:
        progress: Any = SimpleNamespace(rows=[])
        display.on_begin(progress)
        for progress.epoch in (1, 2):
            progress.tally = RunningMeter()
            for progress.step in (1, 2, 3):
                progress.tally.add(np.eye(2)[[0] * 8], np.array([0] * 6 + [1] * 2), 0.5)
                display.on_step(progress)
            display._bar.refresh()
            progress.rows.append(Row(progress.epoch, 0.1, 0.5, 0.75, 0.25, 0.875))
            display.on_epoch(progress)
    return out.getvalue()


def test_a_terminal_sees_a_bar_with_all_that_was_promised() -> None:
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown(True))
    assert re.search(
        r"epoch 2/2 \S+ 6/6 loss 0\.5000 accuracy 75\.00 % [\d,]+ images/s [\d:-]+", text
    ), text
    assert text.count("test accuracy 87.50 %") == 2


def test_elsewhere_there_is_a_line_an_epoch_and_nothing_else() -> None:
    for width in (140, 20):  # a narrow log is not folded
        text = shown(False, width)
        assert "\x1b" not in text
        assert "\r" not in text
        lines = text.splitlines()
        assert [line.split("/")[0] for line in lines] == ["epoch 1", "epoch 2"]
        pattern = (
            r"epoch \d/2  loss 0\.5000  accuracy 75\.00 %  test loss 0\.2500  "
            r"test accuracy 87\.50 %  [\d,]+ images/s"
        )
        for line in lines:
            assert re.fullmatch(pattern, line)
