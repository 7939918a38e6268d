"""How a run stands, in words: out of its files, and of its process where one trains it now."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from chainrule.lab.jobs import Job
from chainrule.lab.live import SCORES, read_live, score_of
from chainrule.lab.pipes import DRAWING, FAILED, FINISHED, PAUSED, PREPARING, STOPPED
from chainrule.lab.runs import DAMAGED, Run, changes
from chainrule.training.checkpoint import Checkpoints
from chainrule.training.config import TrainConfig
from chainrule.training.rows import Row

NAMES = {"accuracy": "accuracy", "exact_match": "all labels right", "mae": "mean error"}
"""What scores are called."""

_ASKED = {
    "pause": "It will pause when the step under way has ended.",
    "go": "It will go on in a moment.",
    "stop": "It will be saved when the step under way has ended, and then stop.",
    "rate": "The rate will change when the step under way has ended.",
}


@dataclass
class Standing:
    """How a run stands.

    `state` is a word, `sentence` says it, `told` is what else there is to say; `done` is the part
    of the training that is behind, `facts` are numbers with their names; `peak` the rate's peak.
    """

    name: str
    path: Path
    config: TrainConfig | None
    state: str
    sentence: str
    told: list[str] = field(default_factory=list)
    output: str = ""
    done: float = 0.0
    facts: list[tuple[str, str]] = field(default_factory=list)
    peak: float = 0.0
    alive: bool = False
    trains: bool = False
    resumable: bool = False
    place: str = ""
    suggested: str = ""

    @property
    def weights(self) -> bool:
        """Whether there is a network to look at."""
        return (self.path / "weights.safetensors").is_file()


def standing(run: Run | None, job: Job | None) -> Standing:
    """Say how a run stands; one of the two may be missing."""
    if job is not None and job.alive:
        return _of_job(job)
    if run is None:
        assert job is not None
        said = job.said or "it was stopped before its first step, and nothing was saved"
        state = FAILED if job.how == FAILED else STOPPED
        sentence = f"{'Failed' if state == FAILED else 'Not begun'}: {said}"
        found = Standing(job.name, job.path, job.config, state, _ended(sentence), list(job.notes))
        found.output = "\n".join(job.output)
        return found
    return _of_run(run, job)


def _of_job(job: Job) -> Standing:
    found = Standing(job.name, job.path, job.config, job.state, "", list(job.notes))
    epochs, moment = job.config.epochs, job.moment
    found.alive, found.trains, found.peak = True, job.trains, job.peak
    found.done = min(1.0, float(moment.get("epoch", 0.0)) / epochs)
    if job.trains:
        found.place, found.facts = place(moment, epochs, job.steps), _facts(job)
    if job.state == PREPARING:
        found.sentence = "Preparing: the data is read and the network is built."
    elif job.state == DRAWING:
        found.sentence = "The training has ended; its tables and pictures are being written."
        found.done = 1.0 if job.how == FINISHED else found.done
    elif job.state == PAUSED:
        found.sentence = "Paused: nothing is lost, and it goes on where it is."
    else:
        found.sentence = "Running."
    if job.asked:
        found.sentence += " " + _ASKED[job.asked]
    return found


def place(moment: dict[str, Any], epochs: int, steps: int) -> str:
    """Say where a training is.

    >>> place({"step": 57, "epoch": 1.2666}, 30, 45)
    'Epoch 2 of 30, step 12 of 45'
    """
    if not moment or not steps:
        return ""
    epoch = (moment["step"] - 1) // steps + 1
    return f"Epoch {epoch} of {epochs}, step {(moment['step'] - 1) % steps + 1} of {steps}"


def _facts(job: Job) -> list[tuple[str, str]]:
    moment = job.moment
    if not moment:
        return []
    name, _ = score_of(moment)
    facts = [("Loss of this epoch so far", number(moment["mean_loss"]))]
    if name:
        facts.append((f"{NAMES[name].capitalize()} so far", share(name, moment["mean_score"])))
    facts.append(("Rate of the last step", number(moment["lr"])))
    if moment.get("speed"):
        facts.append(("Images a second", f"{moment['speed']:,.0f}"))
    left = (job.config.epochs - moment["epoch"]) * moment["seconds"] / max(moment["epoch"], 1e-9)
    facts.append(("Time left, about", duration(left)))
    return facts


def _of_run(run: Run, job: Job | None) -> Standing:
    found = Standing(run.name, run.path, run.config, run.state, "")
    if run.config is None or run.state == DAMAGED:
        found.sentence = f"This run cannot be read: {_ended(run.said)}"
        return found
    epochs, rows = run.config.epochs, run.rows
    found.peak = next((change.peak for change in reversed(changes(run.path))), run.config.lr)
    found.done = min(1.0, len(rows) / epochs)
    found.told = list(job.notes) if job is not None else []
    if run.state == FINISHED:
        early = "" if len(rows) >= epochs else f", of {epochs} at most: nothing got better any more"
        found.sentence = f"Finished after {_epochs(len(rows))}{early}. {result(rows[-1])}"
        return found
    found.resumable = True
    if job is not None and job.how == FAILED:  # its process may not have been able to write why
        run = replace(run, state=FAILED, said=job.said, output="\n".join(job.output))
    if run.state == FAILED:
        found.state, found.output = FAILED, run.output
        found.sentence = f"Failed: {_ended(run.said)}"
        found.suggested = _before_the_end(run)
    else:
        found.sentence = f"Stopped after {_epochs(len(rows))} of {epochs}."
    found.sentence += " " + _goes_on(run)
    return found


def _goes_on(run: Run) -> str:
    newest = next(iter(Checkpoints(run.path).paths()), None)
    if newest is None:
        return "There is no checkpoint: it would begin anew, with the same result."
    step = int(newest.stem.rpartition("-")[2])
    return f"It can go on after step {step:,}, where its newest checkpoint stands."


def _before_the_end(run: Run) -> str:
    """Give the peak of the newest checkpoint if the rate was changed after it, and it then failed.

    Going on as before would only repeat that.
    """
    newest = next(iter(Checkpoints(run.path).paths()), None)
    made = changes(run.path)
    moments = read_live(run.path)
    if newest is None or not made or not moments or run.config is None:
        return ""
    steps = moments[-1]["step"] / max(moments[-1]["epoch"], 1e-9)
    reached = int(newest.stem.rpartition("-")[2]) / steps
    before = [change.peak for change in made if change.epoch <= reached]
    if len(before) == len(made):
        return ""
    return number(before[-1] if before else run.config.lr)


def result(row: Row) -> str:
    """Say what an epoch reached on the test images.

    >>> result(Row(3, 0.1, 0.5, 0.8, 0.4, 0.975))
    'Of the test images 97.50 % are right.'
    """
    values = row.to_dict()
    if "test_accuracy" in values:
        return f"Of the test images {100 * values['test_accuracy']:.2f} % are right."
    for name in SCORES:
        if f"test_{name}" in values:
            return f"On the test images: {NAMES[name]} {share(name, values[f'test_{name}'])}."
    return f"The test's loss is {row.test_loss:.4f}."


def share(name: str, value: float | None) -> str:
    """Write a score: shares in per cent.

    >>> share("accuracy", 0.975), share("mae", 0.25)
    ('97.50 %', '0.2500')
    """
    if value is None:
        return "-"
    return f"{value:.4f}" if name == "mae" else f"{100 * value:.2f} %"


def number(value: float | None) -> str:
    """Write a number in a few digits.

    >>> number(0.0200000001), number(None)
    ('0.02', '-')
    """
    return "-" if value is None else f"{value:.4g}"


def duration(seconds: float) -> str:
    """Write a time.

    >>> duration(45.2), duration(150), duration(7330)
    ('45 s', '2 min 30 s', '2 h 2 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _epochs(count: int) -> str:
    return "1 epoch" if count == 1 else f"{count} epochs"


def _ended(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
