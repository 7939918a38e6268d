"""Trainings in a process of their own: the same as others, obedient, and never left behind."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chainrule.errors import DataError
from chainrule.lab.jobs import Busy, Job, Jobs, rate
from chainrule.lab.live import read_live
from chainrule.lab.pipes import Orders
from chainrule.training.changes import read_changes
from chainrule.training.checkpoint import Checkpoints
from chainrule.training.task import TrainTask
from tests.lab.training import bits, ended, metrics, small, until, workers
from tests.training.test_changes import Do

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and locks are POSIX here")


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    """Trainings in a folder whose name has spaces."""
    jobs = Jobs(tmp_path / "my runs" / ".lab" / "training.lock")
    yield jobs
    jobs.close()
    assert not workers(), "a process was left behind"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "my runs"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three epochs as `chainrule train` trains them."""
    out = tmp_path_factory.mktemp("plain") / "run"
    TrainTask(small(3), out).run()
    return out


def start(jobs: Jobs, path: Path, epochs: int = 3, **changes: object) -> Job:
    return jobs.start(path, small(epochs, **changes), jobs.number(), ["chainrule", "train"])


def paused(job: Job) -> Job:
    """Pause a training that has hardly begun: after its first step, however fast that is."""
    job.order("pause")
    until(lambda: job.state == "paused")
    return job


def test_the_same_bits_as_without_the_lab(jobs: Jobs, folder: Path, plain: Path) -> None:
    job = ended(start(jobs, folder / "a run"))
    assert (job.how, job.said) == ("finished", "")
    assert bits(job.path) == bits(plain)
    assert metrics(job.path) == metrics(plain)
    assert json.loads((job.path / "environment.json").read_text())["command"] == "chainrule train"
    assert (job.path / "curves.png").is_file(), "pictures as `chainrule train` draws them"
    assert (job.path / "health.csv").is_file()
    moments = read_live(job.path)
    assert [m["step"] for m in moments] == sorted({m["step"] for m in moments})
    assert 0 < moments[-1]["epoch"] <= 3
    assert not (job.path / "changes.jsonl").exists()


@pytest.mark.slow
def test_paused_stopped_and_gone_on_with_it_is_the_same(
    jobs: Jobs, folder: Path, plain: Path
) -> None:
    job = start(jobs, folder / "run")
    paused(job)
    until(lambda: Checkpoints(job.path).paths()[0].stem == "step-0000000001")
    before = sorted(job.path.rglob("*"))
    time.sleep(0.5)
    assert sorted(job.path.rglob("*")) == before, "nothing goes on in a pause"
    job.order("go")
    job.order("stop")
    ended(job)
    assert job.how == "stopped"
    again = ended(jobs.resume(job.path, job.config))
    assert again.how == "finished"
    assert bits(again.path) == bits(plain)
    assert metrics(again.path) == metrics(plain)
    seconds = [moment["seconds"] for moment in read_live(again.path)]
    assert seconds == sorted(seconds)


@pytest.mark.slow
def test_ten_clicks_a_second_end_as_the_last_one_says(
    jobs: Jobs, folder: Path, plain: Path
) -> None:
    job = start(jobs, folder / "run")
    paused(job)
    for number in range(1, 41):
        job.order("pause" if number % 2 == 0 else "go")
    assert job.state == "paused"
    job.order("go")
    assert ended(job).how == "finished"
    assert bits(job.path) == bits(plain)


@pytest.mark.slow
def test_the_rate_is_changed_recorded_and_kept(jobs: Jobs, folder: Path, tmp_path: Path) -> None:
    job = start(jobs, folder / "run", schedule="constant", warmup=0.0)
    paused(job)
    job.order("rate", peak=0.05)
    job.order("rate", peak=0.004)  # at the same step: it takes the other's place
    assert job.peak == 0.004
    job.order("stop")
    ended(job)
    ((updates, _, peak),) = read_changes(job.path)
    assert (updates, peak) == (1, 0.004)
    assert ended(jobs.resume(job.path, job.config)).how == "finished"
    whole = TrainTask(small(3, schedule="constant", warmup=0.0), tmp_path / "whole")
    whole.run([Do(updates, lambda: whole.change_rate(0.004))])
    assert bits(job.path) == bits(tmp_path / "whole")


@pytest.mark.slow
def test_another_rate_on_resuming(jobs: Jobs, folder: Path) -> None:
    job = paused(start(jobs, folder / "run"))
    job.order("stop")
    ended(job)
    again = ended(jobs.resume(job.path, job.config, 0.007))
    assert [change.peak for change in read_changes(job.path)] == [0.007]
    assert again.peak == 0.007


def test_one_at_a_time(jobs: Jobs, folder: Path) -> None:
    number = jobs.number()
    job = jobs.start(folder / "run", small(50), number)
    assert jobs.start(folder / "other", small(50), number) is job, "the same form, sent twice"
    with pytest.raises(DataError, match="this form has begun the run run, and now holds other"):
        jobs.start(folder / "other", small(51), number)
    with pytest.raises(Busy, match="one training runs at a time, and run does") as caught:
        jobs.start(folder / "other", small(1), jobs.number())
    assert caught.value.name == "run"
    with pytest.raises(Busy):
        jobs.resume(folder / "elsewhere", small(1))
    assert jobs.resume(job.path, job.config) is job, "it goes on already"
    assert len(workers()) == 1
    assert not (folder / "other").exists()


def test_a_form_sent_ten_times_at_once_starts_one(jobs: Jobs, folder: Path) -> None:
    number, found = jobs.number(), list[Job]()

    def send() -> None:
        found.append(jobs.start(folder / "run", small(50), number))

    threads = [threading.Thread(target=send) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 10
    assert len({id(job) for job in found}) == 1
    assert len(workers()) == 1


def test_nothing_is_replaced(jobs: Jobs, folder: Path) -> None:
    (folder / "run").mkdir(parents=True)
    (folder / "run" / "letter.txt").write_text("keep me")
    with pytest.raises(DataError, match="this one is, and nothing is replaced here"):
        start(jobs, folder / "run")
    assert [p.name for p in (folder / "run").iterdir()] == ["letter.txt"]


def test_numbers_of_forms(jobs: Jobs, folder: Path) -> None:
    drawn = jobs.number()
    assert jobs.known(drawn)
    other = Jobs(folder / "lock")
    for wrong in ("", "-", "x", drawn[:-1], drawn + "0", other.number(), "\N{SNOWMAN}-1"):
        assert not jobs.known(wrong), wrong


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": "/nowhere/at all"}, "/nowhere/at all: no such file or folder"),
        ({"lr": 1e30}, "the loss became"),
        ({"transforms": ("Resize(8)", "Normalize()")}, "expected image_size 32 or 28"),
    ],
)
def test_a_failure_is_told_in_words(
    jobs: Jobs, folder: Path, changes: dict[str, object], words: str
) -> None:
    job = ended(start(jobs, folder / "run", **changes))
    assert job.how == "failed"
    if words not in job.said:  # of NaN there are several ways
        assert "lr" in changes
        assert "not finite" in job.said
    assert "Traceback" not in "\n".join(job.output)
    kept = folder / "run" / "failure.txt"
    assert kept.exists() is (folder / "run" / "config.json").exists()
    if kept.exists():
        assert kept.read_text().startswith(job.said)
    assert start(jobs, folder / "next", 1) is not job, "the next one is not held up"


@pytest.mark.slow
def test_a_disk_that_refuses(jobs: Jobs, folder: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # the weights alone have 250 kB
    try:
        job = start(jobs, folder / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    ended(job)
    assert job.how == "failed"
    assert "File too large" in job.said
    assert not list(folder.rglob("*.tmp"))


@pytest.mark.slow
def test_a_process_that_is_killed(jobs: Jobs, folder: Path, plain: Path) -> None:
    job = paused(start(jobs, folder / "run"))
    (worker,) = workers()
    worker.kill()
    ended(job)
    assert job.how == "failed"
    assert "its process was killed (signal 9)" in job.said
    assert (job.path / "failure.txt").read_text().startswith(job.said)
    with pytest.raises(DataError, match="this training has ended"):
        job.order("pause")
    assert ended(jobs.resume(job.path, job.config)).how == "finished"
    assert not (job.path / "failure.txt").exists()
    assert bits(job.path) == bits(plain)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["preparing", "running", "paused"])
def test_the_pipe_s_end_saves_and_ends(jobs: Jobs, folder: Path, moment: str, plain: Path) -> None:
    job = start(jobs, folder / "run")
    if moment != "preparing":
        paused(job)
    if moment == "running":
        job.order("go")
    assert job._process.stdin is not None
    job._process.stdin.close()  # as the system does when the server is no more
    ended(job)
    assert job.how == "stopped"
    if moment == "preparing":
        assert not job.path.exists()
        return
    assert Checkpoints(job.path).paths()[0].stem > "step-0000000000"
    assert ended(jobs.resume(job.path, job.config)).how == "finished"
    assert bits(job.path) == bits(plain)


@pytest.mark.slow
def test_a_signal_from_elsewhere_in_a_pause(jobs: Jobs, folder: Path) -> None:
    job = paused(start(jobs, folder / "run"))
    (worker,) = workers()
    os.kill(worker.pid, signal.SIGTERM)
    assert ended(job).how == "stopped"


@pytest.mark.slow
def test_two_labs_in_one_folder_wait_for_each_other(jobs: Jobs, folder: Path) -> None:
    job = paused(start(jobs, folder / "run", 50))
    others = Jobs(folder / ".lab" / "training.lock")
    try:
        other = start(others, folder / "other", 1)
        until(lambda: other.notes)
        assert "waits for another training in this folder" in other.notes[0]
        job.order("stop")
        assert ended(other).how == "finished"
    finally:
        others.close()


def test_a_closed_lab_begins_nothing(jobs: Jobs, folder: Path) -> None:
    jobs.close()
    with pytest.raises(DataError, match="the lab is being ended"):
        start(jobs, folder / "run")


@pytest.mark.parametrize(
    "text", ["", "fast", "0", "-1", "nan", "inf", "1e7", "1e-40", "0x1", "1,5"]
)
def test_rates_that_are_none(text: str) -> None:
    with pytest.raises(DataError, match="rate: expected a number above 0"):
        rate(text)


@pytest.mark.parametrize("said", [b'{"do": "stop", "number": 1}\n', b""])
def test_a_stop_reaches_who_waits_for_a_file(said: bytes) -> None:
    """Such as a network drive that does not answer while the data are read."""
    reads, writes = os.pipe()
    never, kept = os.pipe()
    with open(reads, "rb", buffering=0) as pipe, open(writes, "wb", buffering=0) as server:
        server.write(b'{"run": "x"}\n')
        orders = Orders(pipe)
        assert orders.first == {"run": "x"}
        orders.listen()
        later = threading.Timer(0.3, lambda: server.write(said) if said else server.close())
        later.start()
        with pytest.raises(KeyboardInterrupt):
            os.read(never, 1)
        assert orders.stopped
        assert orders.alone is not bool(said)
        later.join()
        server.close()
        orders.join()
    os.close(never)
    os.close(kept)
