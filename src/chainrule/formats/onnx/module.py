"""The network that a file of ONNX holds, as a Module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from chainrule.engine.op import DType
from chainrule.engine.tensor import Tensor, as_tensor
from chainrule.errors import KindError, ShapeError, failure
from chainrule.formats.onnx.program import Program
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter


class Input:
    """An input of the graph: its name, kind of values and number of axes (None: any)."""

    def __init__(self, name: str, dtype: DType | None, sizes: tuple[Any, ...] | None) -> None:
        self.name, self.dtype, self.sizes = name, dtype, sizes

    def check(self, value: Any, also: Callable[[], set[DType]]) -> Tensor:
        """Give the value as a tensor; KindError or ShapeError for what the file does not take.

        `also` gives the dtypes of the parameters, which `double()` may have changed.
        """
        if isinstance(value, np.generic):
            value = np.asarray(value)
        x = as_tensor(value, f"input {self.name!r}")
        wanted = self.dtype if self.dtype is not None else x.dtype
        if x.dtype != wanted and not (wanted.kind == "f" and x.dtype in also()):
            raise failure(
                "OnnxModule", f"{self.dtype} for the input {self.name!r}", error=KindError,
                hint=f"convert it: x.to(cr.{self.dtype})", input=x,
            )  # fmt: skip
        if self.sizes is not None and x.ndim != len(self.sizes):
            shown = ", ".join(str(size or "?") for size in self.sizes)
            raise failure(
                "OnnxModule", f"{len(self.sizes)} axes, ({shown}), for the input {self.name!r}",
                error=ShapeError, input=x,
            )  # fmt: skip
        return x


class Group(Module):
    """What stands under one part of the dotted names: parameters, and further groups."""


class OnnxModule(Module):
    """A network read from ONNX: runs the file's operators in order; trained as any other.

    Parameters and buffers bear the file's names, of which dots make submodules.  It is called with
    the graph's inputs in their order, or by name; one output is a tensor, several are a tuple.
    `inputs` and `outputs` list the names, `metadata` the file's notes.
    """

    def __init__(self, inputs: list[Input], outputs: list[str], metadata: dict[str, str]) -> None:
        super().__init__()
        self.inputs = [given.name for given in inputs]
        self.outputs = outputs
        self.metadata = metadata
        self._inputs = inputs
        self.program = Program([], [], {}, {}, [], self)
        self._places: dict[str, tuple[Module, str]] = {}
        self.groups: set[str] = set()  # the paths of the modules in it

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Run the graph.

        Raises KindError and ShapeError for inputs of another dtype or number of axes, and what the
        operators raise, with the node's name.
        """
        found = self.program.run(self._given(inputs, named))
        return found[0] if len(found) == 1 else tuple(found)

    def _given(self, inputs: tuple[Any, ...], named: Mapping[str, Any]) -> dict[str, Tensor]:
        given = dict(zip(self.inputs, inputs, strict=False))
        unknown = [name for name in named if name not in self.inputs or name in given]
        missing = [name for name in self.inputs if name not in given and name not in named]
        if unknown or missing or len(inputs) > len(self.inputs):
            raise failure(
                "OnnxModule", f"one value for each of the inputs {', '.join(self.inputs)}",
                error=KindError, positional=len(inputs), named=sorted(named),
            )  # fmt: skip
        given.update(named)
        return {one.name: one.check(given[one.name], self._dtypes) for one in self._inputs}

    def _dtypes(self) -> set[DType]:
        return {p.dtype for p in self.parameters()}

    def state_of(self, path: str) -> Tensor:
        """Give the parameter or buffer at a path."""
        module, leaf = self._places[path]
        found: Tensor = getattr(module, leaf)
        return found

    def add_state(self, name: str, value: Tensor, learned: bool) -> str:
        """Take in a parameter or buffer under the file's name; give the path that it got."""
        path = self._free(name)
        *folders, leaf = path.split(".")
        module: Module = self
        for folder in folders:
            module = module._modules.setdefault(folder, Group()) or module
        if learned:
            module.register_parameter(leaf, Parameter(value))
        else:
            module.register_buffer(leaf, value)
        self._places[path] = module, leaf
        self.groups.update(".".join(folders[: i + 1]) for i in range(len(folders)))
        return path

    def _free(self, name: str) -> str:
        """Give the name if it can be a path, else one without dots that nobody has."""
        if name and self._fits(name):
            return name
        base = name.replace(".", "_") or "value"
        tried, count = base, 1
        while not self._fits(tried):
            count += 1
            tried = f"{base}_{count}"
        return tried

    def _fits(self, name: str) -> bool:
        *folders, leaf = name.split(".")
        if not leaf or not all(folders):
            return False
        module: Module = self
        for folder in folders:
            if folder not in module._modules and hasattr(module, folder):
                return False
            module = module._modules.get(folder) or Group()
        return not hasattr(module, leaf)

    def extra_repr(self) -> str:
        """Tell the inputs, the outputs and how many operators there are."""
        count = len(self.program.steps)
        inputs, outputs = ", ".join(self.inputs), ", ".join(self.outputs)
        return f"{inputs} -> {outputs}: {count} operators"
