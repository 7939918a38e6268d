"""The benchmarks' own arithmetic, without timing anything: what they count, refuse and write."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine.dispatch import Backend
from chainrule.engine.graph import Slot
from chainrule.nn import functional as F
from chainrule.ops.activation import ReLU

FOLDER = Path(__file__).parent.parent / "benchmarks"
README = FOLDER.parent / "README.md"
SCRIPTED = """
import os, sys, time
import side, worker

class Scripted(side.Side):
    def __init__(self, threads, backend=None):
        self.threads = threads
    def echo(self, **given):
        print("this is no answer")  # as a library may
        return {"threads": self.threads, **given}
    def fail(self):
        raise ValueError("as planned")
    def die(self):
        os._exit(7)
    def hang(self):
        time.sleep(60)
"""

pytest.importorskip("psutil")


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import a benchmark's module by name; all of them are forgotten after the test."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(FOLDER))

    def module(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield module
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").is_relative_to(FOLDER):
            del sys.modules[name]


@pytest.fixture
def scripted(load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A worker in a process of its own that does what the test wants."""
    worker = load("worker")
    (tmp_path / "scripted.py").write_text(SCRIPTED)
    program = tmp_path / "serving.py"
    program.write_text(
        f"import sys; sys.path[:0] = [{str(FOLDER)!r}, {str(tmp_path)!r}]\n"
        "import worker; worker.SIDES['scripted'] = 'scripted:Scripted'; worker.main()\n"
    )
    monkeypatch.setattr(worker, "__file__", str(program))
    with worker.Worker("scripted", 2) as made:
        yield made


def pair_results(load: Any, ours: list[list[float]], theirs: list[list[float]]) -> dict[str, Any]:
    pair = load("networks").PAIRS["lenet5"]
    adds = {"forward": 50_000_000, "first": 10_000_000}
    found: dict[str, Any] = load("training").summary(
        pair, ours, theirs, adds, {"numpy": 100.0, "torch": 200.0}
    )
    found["batch"] = 128
    found["ours"]["variant"], found["peer"]["variant"] = "nchw", "nhwc, fused"
    return found


def results(load: Any, ratio: float = 2.0) -> dict[str, Any]:
    machine = {
        "processor": "Some processor",
        "processor_numbers": "family 1, model 2",
        "processors": 2,
        "instruction_sets": ["avx2"],
    }
    versions = {
        "chainrule": {"chainrule": "0.1", "backend": "onednn", "library": "3.2.0 (AVX2)"},
        "torch": {"torch": "2.13.0", "onednn": "3.12.0"},
    }
    pair = pair_results(load, [[0.01]], [[0.01 * ratio]])
    pair["memory"] = {"ours_mib": 50.0, "peer_mib": 300.0, "ratio": 50 / 300}
    return {
        "machine": machine,
        "libraries": versions,
        "threads": 2,
        "date": "2026-01-02 03:04 UTC",
        "pairs": {"lenet5": pair},
    }


def test_ratio_is_the_median_of_the_rounds_of_medians(load: Any) -> None:
    ours = [[0.010, 0.011, 0.5], [0.010, 0.010, 0.010], [0.020]]
    theirs = [[0.022, 0.022, 0.022], [0.030, 0.030, 0.001], [0.020]]
    found = pair_results(load, ours, theirs)
    assert (found["ratio_low"], found["ratio"], found["ratio_high"]) == (1.0, 2.0, 3.0)
    assert found["ours"]["median_ms"] == 11.0
    assert found["peer"]["median_ms"] == 22.0
    work = 3 * 50e6 - 10e6  # the images' gradient is not computed
    assert found["multiply_adds_step"] == work
    assert found["ours"]["gflops"] == pytest.approx(2 * work / 0.011 / 1e9, abs=0.1)
    assert found["ours"]["of_sgemm"] == pytest.approx(2 * work / 0.011 / 200e9, abs=1e-3)


AGREED = {"loss": 2.3, "gradients": {"w": 1.5, "b": 1e-6}}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"loss": 2.31}, "the loss is 2.31"),
        ({"loss": float("nan")}, "the loss is nan"),
        ({"gradients": {"w": 1.6, "b": 1e-6}}, "the length of w's gradient is 1.6"),
        ({"gradients": {"w": 1.5, "b": 1e-3}}, "the length of b's gradient is 0.001"),
        ({"gradients": {"w": 1.5}}, "other parameters"),
    ],
)
def test_sides_that_differ_are_not_timed(load: Any, change: Any, what: str) -> None:
    training = load("training")
    near = {"loss": 2.301, "gradients": {"w": 1.501, "b": 2e-6}}  # b's is rounding
    training.compare("lenet5", near, AGREED)
    with pytest.raises(training.Disagreement, match=what):
        training.compare("lenet5", {**AGREED, **change}, AGREED)


@pytest.mark.parametrize(
    ("ours", "theirs"), [("nan", "nan"), ("inf", "inf"), ("1", "inf"), ("inf", "1")]
)
def test_what_is_not_finite_does_not_agree(load: Any, ours: str, theirs: str) -> None:
    a, b = ({"loss": float(loss), "gradients": {"w": 1.0}} for loss in (ours, theirs))
    with pytest.raises(load("training").Disagreement):
        load("training").compare("lenet5", a, b)


class Descending:
    """A worker whose loss falls as it should, or as if its momentum were another."""

    def __init__(self, momentum: float = 0.9, parameters: int = 3) -> None:
        self.momentum, self.parameters = momentum, parameters

    def ask(self, order: str, **given: Any) -> Any:
        if order == "build":
            return {"parameters": self.parameters}
        if order == "check":
            return {"loss": 2.0, "gradients": {"w": 3.0}}
        if order != "descend":
            return None
        losses, speed = [2.0], 0.0
        for _ in range(given["count"] - 1):
            speed = self.momentum * speed + given["rate"] * 9.0
            losses.append(losses[-1] - speed)
        return losses


def test_optimisers_are_compared_too(load: Any) -> None:
    training, pair = load("training"), load("networks").PAIRS["lenet5"]
    losses = training.agree(Descending(), Descending(), pair, None)["losses"][0]
    assert losses[0] - losses[1] == pytest.approx(0.02), "a hundredth of the loss"
    with pytest.raises(training.Disagreement, match="loss in steps of"):
        training.agree(Descending(momentum=0.8), Descending(), pair, None)
    with pytest.raises(training.Disagreement, match="4 parameters here, 3 in the peer"):
        training.agree(Descending(parameters=4), Descending(), pair, None)


class Counted:
    """A worker whose variants take a known time, and which says what it was asked."""

    def __init__(self, name: str, log: list[str], seconds: dict[str, float]) -> None:
        self.name, self.log, self.seconds = name, log, seconds
        self.now = next(iter(seconds))

    def ask(self, order: str, **given: Any) -> Any:
        if order == "variants":
            return [{"layout": key} for key in self.seconds]
        if order == "use":
            self.now = given["layout"]
            return None
        self.log += [self.name] * (given["count"] > 2)
        return {"seconds": [self.seconds[self.now]] * given["count"], "loss": 0.0}

    def busy(self) -> float:
        return 0.0


def test_the_fastest_variant_is_used(load: Any) -> None:
    log: list[str] = []
    worker = Counted("a", log, {"nchw": 0.03, "nhwc": 0.01, "other": 0.011})
    best, times = load("training").fastest(worker, 2)
    assert best == {"layout": "nhwc"}
    assert worker.now == "nhwc"
    assert times == {"nchw": 0.03, "nhwc": 0.01, "other": 0.011}
    assert len(log) == 2 * 2, "the slow one is tried once, the two near ones twice more"


def test_the_sides_take_turns(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    training = load("training")
    monkeypatch.setattr(training, "PAUSE", 0.0)
    log: list[str] = []
    workers = [Counted("a", log, {"x": 0.05}), Counted("b", log, {"x": 0.1})]
    taken, awake = training.alternate(workers, 3)
    assert log == ["a", "b"] * 3
    assert [len(rounds) for rounds in taken] == [3, 3]
    assert taken[0][0] == [0.05] * 10
    assert taken[1][2] == [0.1] * 5
    assert awake == 0.0


def test_worker_answers_in_its_own_process(scripted: Any) -> None:
    assert scripted.ask("echo", word="x") == {"threads": 2, "word": "x"}
    assert scripted.ask("memory")["peak"] >= scripted.ask("memory")["now"] > 1 << 20


def test_worker_tells_its_error_and_goes_on(scripted: Any, load: Any) -> None:
    for order, told in (("fail", "ValueError: as planned"), ("__sizeof__", "AttributeError")):
        with pytest.raises(load("worker").WorkerError, match=told):
            scripted.ask(order)
    assert scripted.ask("echo", n=1)["n"] == 1


def test_worker_that_dies_is_told(scripted: Any, load: Any) -> None:
    with pytest.raises(load("worker").WorkerError, match="ended with 7"):
        scripted.ask("die")


def test_worker_that_takes_too_long_is_stopped(scripted: Any, load: Any) -> None:
    with pytest.raises(load("worker").WorkerTimeout, match=r"not done after 0\.2 s"):
        scripted.ask("hang", timeout=0.2)
    assert scripted.process.returncode is not None


def test_workers_do_not_inherit_what_tunes_a_library(
    load: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_WAIT_POLICY", "MKL_NUM_THREADS", "CHAINRULE_BACKEND", "PLAIN"):
        monkeypatch.setenv(name, "1")
    worker = load("worker")
    kept = worker.clean_environment(worker.processors())
    assert kept["PLAIN"] == "1"
    assert kept["CHAINRULE_NUM_THREADS"] == str(worker.processors())
    assert not {"OMP_WAIT_POLICY", "MKL_NUM_THREADS", "CHAINRULE_BACKEND"} & set(kept)


def test_profile_counts_and_leaves_no_trace(load: Any) -> None:
    x = cr.randn(2, 3, 8, 8)
    w = cr.randn(4, 3, 3, 3)
    w.requires_grad = True
    optimizer = cr.optim.SGD([w], lr=0.1)

    def step() -> None:
        y = cr.relu(F.conv2d(x, w))
        (y + y).sum().backward()  # two gradients meet at y
        optimizer.step()

    select, add = Backend.select, Slot.add
    profile = load("stopwatch").Profile(optimizer)
    with cr.use_backend("numpy"), profile:
        for _ in range(2):
            profile.step(step)
    assert (Backend.select, Slot.add) == (select, add)
    assert "step" not in vars(optimizer)
    found = profile.report()
    kinds = {kind["operation"]: kind for kind in found["operations"]}
    assert set(kinds) == {"Conv", "ReLU", "Add", "Sum"}
    for kind in kinds.values():
        assert kind["forward_calls"] == kind["backward_calls"] == 1
        assert kind["forward_ms"] > 0
        assert kind["backward_ms"] > 0
    work = 2 * 4 * 6 * 6 * 3 * 3 * 3
    for way in ("forward", "backward"):  # the images want no gradient
        assert profile.done[1].table["Conv", False, way].multiply_adds == work
    seen = sum(k["forward_ms"] + k["backward_ms"] for k in found["operations"])
    assert seen + sum(found["parts_ms"].values()) == pytest.approx(found["step_ms"], abs=0.02)
    assert found["parts_ms"]["optimiser"] > 0
    assert found["parts_ms"]["adding gradients at branches"] > 0


def test_profile_tells_fast_kernels_from_the_reference(load: Any) -> None:
    backend = Backend("pretended")

    @backend.kernel(ReLU)
    class Fast:
        def supports(self, op: Any, arrays: Any) -> bool:
            return bool(arrays[0].ndim == 1)

        def forward(self, op: Any, arrays: Any) -> Any:
            return op.forward(np, *arrays)

    with load("stopwatch").Profile(cr.optim.SGD([cr.ones(1)], lr=0.1)) as profile:
        for shape in ((3,), (3, 3)):
            array = np.ones(shape, np.float32)
            backend.select(ReLU(), [array]).forward(ReLU(), [array])
    ways = {("ReLU", True, "forward"), ("ReLU", False, "forward")}
    assert set(profile.now.table) == ways


def test_profile_leaves_disturbed_steps_out(load: Any) -> None:
    stopwatch = load("stopwatch")
    profile = stopwatch.Profile(None)
    for seconds in (0.5, 0.010, 0.012, 0.9):
        step = stopwatch.Step(seconds=seconds)
        step.table["Conv", True, "forward"] = stopwatch.Entry(2, seconds / 2, 500)
        step.cases["Conv forward"] = stopwatch.Entry(2, seconds / 2, 500)
        step.parts["optimiser"] = seconds / 4
        profile.done.append(step)
    found = profile.report()
    assert found["step_ms"] == 11.0
    assert found["operations"][0]["forward_ms"] == 5.5
    assert found["operations"][0]["forward_calls"] == 2
    assert found["parts_ms"] == {"optimiser": 2.75, "rest": 2.75}
    assert found["slowest"][0]["case"] == "Conv forward"


def test_growth_is_of_the_highest(load: Any) -> None:
    growth = load("shapes").growth
    assert growth([100, 80, 90, 100], 2) == 0.0
    assert growth([100, 80, 90, 103], 2) == pytest.approx(3.0)
    drawn = load("shapes").draw(30)
    assert max(drawn) == drawn[0]
    assert len({tuple(size) for size in drawn}) > 20


def test_results_survive_a_round_trip_and_stay_readable(load: Any, tmp_path: Path) -> None:
    module, path = load("results"), tmp_path / "build" / "results.json"
    found = results(load)
    module.write(path, found)
    assert module.read(path) == json.loads(json.dumps(found))
    assert max(map(len, path.read_text().splitlines())) < 200
    setting = {key: found[key] for key in ("machine", "libraries", "threads")}
    assert "pairs" in module.begin(path, {**setting, "date": "later"})
    assert module.begin(path, {**setting, "date": "later"})["date"] == "later"
    assert "pairs" not in module.begin(path, {**setting, "threads": 1})
    assert module.read(tmp_path / "absent.json") == {}


def test_table_says_machine_date_figures_and_missed_bars(load: Any) -> None:
    text = load("table").markdown(results(load, ratio=2.0))
    assert "2026-01-02 on Some processor (family 1, model 2), 2 threads, AVX2" in text
    assert "chainrule 0.1 on onednn 3.2.0 (AVX2) against PyTorch 2.13.0 (oneDNN 3.12.0)" in text
    row = next(line for line in text.splitlines() if "LeNet-5, batch" in line)
    for figure in ("10 ms", "20 ms (nhwc, fused)", "2.00 (2.00 to 2.00) | 1.8 |", "50 / 300 MiB"):
        assert figure in row
    missed = load("table").markdown(results(load, ratio=1.7))
    assert "1.70 (1.70 to 1.70) | 1.8, missed |" in missed


def test_table_goes_between_its_marks(load: Any) -> None:
    table = load("table")
    page = f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n"
    once = table.into_page(page, "new")
    assert "old" not in once
    assert once.startswith("before\n")
    assert once.endswith("\nafter\n")
    assert table.into_page(once, "new") == once
    with pytest.raises(ValueError, match="no lines"):
        table.into_page("no marks", "new")


def test_readme_carries_the_table_of_the_results(load: Any) -> None:
    """Whoever measures anew also writes the page (`--readme README.md`)."""
    table, module = load("table"), load("results")
    page = README.read_text("utf-8")
    if not module.FILE.exists() or table.BEGIN not in page:
        pytest.skip("nothing has been measured for the README yet")
    assert table.into_page(page, table.markdown(module.read(module.FILE))) == page


def test_plot_is_drawn(load: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = results(load)
    load("plot").draw(found, tmp_path / "a.svg")
    load("plot").draw(found, tmp_path / "b.svg")
    assert "<svg" in (tmp_path / "a.svg").read_text()
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ([], ["import_time", "vgg16", "first_step", "shapes"]),
        (["vgg16", "--installed-size"], ["vgg16", "installed_size"]),
        (["--quick"], ["lenet5", "first_step", "shapes"]),
    ],
)
def test_what_runs(load: Any, words: list[str], names: list[str]) -> None:
    run = load("run")
    listed = run.chosen(run.arguments(words))
    assert set(names) <= set(listed)
    assert ("installed_size" in listed) == ("--installed-size" in words)
    assert len(listed) == len(names) or not words


def test_command_line_refuses(load: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run = load("run")
    for words, told in ((["lenet6"], "there is no 'lenet6'"), (["--batch", "2"], "--quick")):
        with pytest.raises(SystemExit):
            run.arguments(words)
        assert told in capsys.readouterr().err


def test_quick_figures_do_not_replace_real_ones(load: Any) -> None:
    module = load("results")
    assert module.QUICK != module.FILE
    assert "build" in module.QUICK.parts


def test_every_bar_of_a_pair_is_named(load: Any) -> None:
    bars = {key: pair.bar for key, pair in load("networks").PAIRS.items()}
    assert bars == {
        "lenet5": 1.8,
        "resnet20": 1.15,
        "alexnet": 1.15,
        "vgg16": 1.3,
        "resnet18": 1.25,
        "resnet50": 1.15,
        "alexnet_lrn": None,
    }
