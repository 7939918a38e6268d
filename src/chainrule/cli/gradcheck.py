"""`chainrule gradcheck NAME`: numerical against analytic gradients of operations and networks."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import numpy as np
import typer

import chainrule.ops  # noqa: F401 - fills the registry
from chainrule.engine.gradcheck import GradcheckReport
from chainrule.engine.gradcheck import gradcheck as check
from chainrule.engine.op import FUNCTIONS, OPS, Array, Op, Spec
from chainrule.engine.random import manual_seed
from chainrule.engine.tensor import apply_all
from chainrule.models.registry import MODELS, create_model, list_models

Name = Annotated[
    str, typer.Argument(help="An operation (conv2d), a network (lenet5), or all.", metavar="NAME")
]
Seeds = Annotated[int, typer.Option(min=1, help="How many draws of the inputs are checked.")]

_MODEL_BATCH = 2
_MODEL_STEP = 1e-6  # small, since a deep network has a kink of some ReLU nearly everywhere
_QUICK = 100_000  # parameters; networks with more take minutes and are checked by name alone


def gradcheck(name: Name, seeds: Seeds = 1) -> None:
    """Compare backward with centred differences, in float64.

    Of an operation every sample is checked, of a network every parameter.  Leaves with code 1 if a
    derivative differs, after naming layer, parameter, element, both values and the likely cause.
    With "all" the large networks are left out, which take minutes; name them one by one.
    """
    operations, models = _find(name)
    failed = 0
    for operation in operations:
        failed += not _show(operation.__name__, list(_operation_reports(operation, seeds)))
    for model in models:
        failed += not _show(model, [_model_report(model, seed) for seed in range(seeds)])
    count = len(operations) + len(models)
    if failed:
        typer.echo(f"gradcheck: {failed} of {count} failed")
        raise typer.Exit(1)
    typer.echo(f"gradcheck: {count} of {count} passed")


def _find(name: str) -> tuple[list[type[Op]], list[str]]:
    """Find what is meant: operations by class or function name, networks, or all that is quick."""
    if name == "all":
        quick = [name for name in list_models() if (MODELS[name].parameters or 0) <= _QUICK]
        return [OPS[key] for key in sorted(OPS)], quick
    if name in list_models():
        return [], [name]
    operations = _operations(name.rpartition(".")[2])
    if operations:
        return operations, []
    known = {_plain(key): key for key in [*FUNCTIONS, *OPS, *list_models()]}
    near = difflib.get_close_matches(_plain(name), known, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(known[key] for key in near)}? " if near else ""
    raise typer.BadParameter(
        f"no operation or network is called {name!r}; {hint}'all' checks every one of them"
    )


def _operations(name: str) -> list[type[Op]]:
    """Find an operation by its class (ReLU), its layer (Conv2d), or a function that runs it."""
    by_class = {_plain(key): operation for key, operation in OPS.items()}
    for key in (_plain(name), re.sub(r"[123]d$", "", _plain(name))):
        if key in by_class:
            return [by_class[key]]
    functions = {_plain(key): function for key, function in FUNCTIONS.items()}
    found: dict[str, type[Op]] = {}
    if _plain(name) in functions:
        _collect(functions[_plain(name)], found, set())
    return [found[key] for key in sorted(found)]


def _collect(function: Any, found: dict[str, type[Op]], seen: set[Any]) -> None:
    """Collect the operations that a function of `chainrule.ops` names, itself or in its helpers."""
    function = inspect.unwrap(function) if callable(function) else None
    code = getattr(function, "__code__", None)
    if code is None or code in seen or not function.__module__.startswith("chainrule.ops."):
        return
    seen.add(code)
    for name in code.co_names:
        value = function.__globals__.get(name)
        if isinstance(value, type) and issubclass(value, Op):
            found[value.__name__] = value
        else:
            _collect(value, found, seen)


def _plain(name: str) -> str:
    return name.lower().replace("_", "")


def _operation_reports(operation: type[Op], seeds: int) -> Iterator[tuple[str, GradcheckReport]]:
    for sample in operation.samples():
        for seed in range(seeds):
            inputs = sample.draw(seed)
            if _has_gradient(sample.op, inputs):
                yield repr(sample), check(_Applied(sample.op), inputs, seed=seed)


def _has_gradient(op: Op, inputs: Sequence[Array]) -> bool:
    specs = [Spec(array.shape, array.dtype) for array in inputs]
    outputs = op.infer(*specs) if op.infers else specs
    return all(any(s.is_floating and s.differentiable for s in side) for side in (specs, outputs))


class _Applied:
    """An operation as a function of tensors."""

    def __init__(self, op: Op) -> None:
        self.op = op

    def __call__(self, *inputs: Any) -> Any:
        return apply_all(self.op, *inputs)


def _model_report(name: str, seed: int) -> tuple[str, GradcheckReport]:
    manual_seed(seed)
    model = create_model(name)
    side = MODELS[name].smallest
    rng = np.random.Generator(np.random.PCG64(seed))
    x = rng.standard_normal((_MODEL_BATCH, MODELS[name].channels, side, side))
    return name, check(model, x, seed=seed, step=_MODEL_STEP)


def _show(name: str, reports: list[tuple[str, GradcheckReport]]) -> bool:
    """Print one line, or what is wrong; tell whether all passed."""
    wrong = [(what, report) for what, report in reports if not report]
    for what, report in wrong:
        typer.echo(f"{name}: failed on {what}")
        typer.echo(str(report))
    if wrong:
        return False
    if not reports:
        typer.echo(f"{name}: no gradient passes, nothing to check")
        return True
    probes = sum(report.probes for _, report in reports)
    kinks = sum(report.kinks for _, report in reports)
    worst = max(report.worst for _, report in reports)
    error = f"largest relative error {worst:.1e}" if worst else "all within rounding"
    apart = f", {kinks} at kinks set apart" if kinks else ""
    typer.echo(f"{name}: {probes:,} derivatives on {len(reports)} input(s) agree, {error}{apart}")
    return True
