"""Walking a graph backwards: iterative, in the reverse order of making, adding at branches.

Inputs are always made before outputs, so that the nodes in the descending order of their
sequence numbers are in a topological order, and no recursion is needed however long the chain.
Only this walk accumulates, and only into arrays that it allocated.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from chainrule.engine import anomaly, state
from chainrule.engine.dispatch import current_backend
from chainrule.engine.node import Node
from chainrule.engine.op import Array, public
from chainrule.engine.tensor import Tensor
from chainrule.engine.written import arrays_in, root, written_since
from chainrule.errors import (
    BackendError,
    GraphError,
    KindError,
    ShapeError,
    describe,
    failure,
    of_operation,
)


class Slot:
    """The gradient gathered so far for one value."""

    __slots__ = ("array", "owned")

    def __init__(self, array: Array, owned: bool) -> None:
        self.array = np.asarray(array)  # NumPy gives scalars for results without axes
        self.owned = owned  # allocated by this walk or fresh from a kernel: may be added to

    def add(self, array: Array) -> None:
        """Add another branch's gradient."""
        backend = current_backend()
        if self.owned and self.array.flags.writeable:
            backend.add(self.array, array, out=self.array)
        else:
            self.array, self.owned = np.asarray(backend.add(self.array, array)), True


class Walk:
    """One backward pass from `seeds` (tensor, gradient) to leaves, or to chosen `targets`."""

    def __init__(self, retain_graph: bool, targets: Sequence[Tensor] | None) -> None:
        self.retain_graph = retain_graph
        self.targets = None if targets is None else {_key(t): t for t in targets}
        self.found: dict[Any, Array] = {}
        self.slots: dict[int, dict[int, Slot]] = {}
        self.leaves: dict[int, tuple[Tensor, Slot | None]] = {}
        self.waiting: dict[int, int] = {}
        self.relevant: set[int] | None = None

    def run(self, seeds: Iterable[tuple[Tensor, Array]]) -> None:
        """Walk from the seeds until every leaf or target has its gradient."""
        seeds = list(seeds)
        nodes = self._reachable([t._node for t, _ in seeds if t._node is not None])
        if self.targets is not None:
            self.relevant = self._leading_to_targets(nodes)
        for tensor, gradient in seeds:
            self._seed(tensor, gradient)
        token = state.GRAD.set(False)  # what hooks compute is no part of a graph
        try:
            for node in nodes:
                self._step(node)
            for leaf, slot in list(self.leaves.values()):  # seeds that are leaves themselves
                if slot is not None:
                    self._deliver(leaf, slot)
        finally:
            state.GRAD.reset(token)

    def _reachable(self, roots: list[Node]) -> list[Node]:
        """List the nodes behind the roots, latest made first, and count each leaf's users."""
        seen = {id(n): n for n in roots}
        stack = list(seen.values())
        while stack:
            for edge in stack.pop().edges:
                if edge is None:
                    continue
                if type(edge) is tuple:
                    if id(edge[0]) not in seen:
                        seen[id(edge[0])] = edge[0]
                        stack.append(edge[0])
                else:
                    self.waiting[id(edge)] = self.waiting.get(id(edge), 0) + 1
        return sorted(seen.values(), key=lambda n: n.sequence, reverse=True)

    def _leading_to_targets(self, nodes: list[Node]) -> set[int]:
        """Find the nodes through which some target's gradient must pass."""
        assert self.targets is not None
        wanted = set(self.targets)
        leading: set[int] = set()
        for node in reversed(nodes):
            for edge in node.edges:
                if edge is not None and (_edge_key(edge) in wanted or _leads(edge, leading)):
                    leading.add(id(node))
                    break
        return leading

    def _seed(self, tensor: Tensor, gradient: Array) -> None:
        if tensor._node is None:
            self._add_leaf(tensor, gradient, owned=False)
        else:
            self._add_inner(tensor._node, tensor._index, gradient, owned=False)

    def _add_leaf(self, leaf: Tensor, gradient: Array, owned: bool) -> None:
        slot = self.leaves.get(id(leaf), (leaf, None))[1]
        if slot is None:
            self.leaves[id(leaf)] = (leaf, Slot(gradient, owned))
        else:
            slot.add(gradient)

    def _add_inner(self, node: Node, index: int, gradient: Array, owned: bool) -> None:
        slots = self.slots.setdefault(id(node), {})
        if index in slots:
            slots[index].add(gradient)
        else:
            slots[index] = Slot(gradient, owned)

    def _step(self, node: Node) -> None:
        """Run one node's backward and hand its gradients on."""
        slots = self.slots.pop(id(node), None)
        if slots is not None:
            slots = self._meet(node, slots)
        if slots is None or (self.relevant is not None and id(node) not in self.relevant):
            self._hand_on(node, (None,) * len(node.edges), ())
            return
        _check_usable(node)
        many = len(node.specs) > 1
        gys = tuple(slots[i].array if i in slots else None for i in range(len(node.specs)))
        needs = node.needs if self.relevant is None else self._needed(node)
        try:
            gradients = node.kernel.backward(node.op, node.saved, gys if many else gys[0], needs)
        except BackendError as error:
            shapes = [spec.shape for spec in node.specs]
            raise of_operation(error, f"backward of {node!r}", shapes) from error
        if state.ANOMALY.get():
            anomaly.check_backward(node, gradients)
        if not self.retain_graph and next(arrays_in(node.saved), None) is not None:
            node.saved, node.released = None, True
        self._hand_on(node, gradients, slots.values(), node.op.fresh)

    def _needed(self, node: Node) -> tuple[bool, ...]:
        assert self.targets is not None
        assert self.relevant is not None
        return tuple(
            [
                edge is not None
                and (_edge_key(edge) in self.targets or _leads(edge, self.relevant))
                for edge in node.edges
            ]
        )

    def _meet(self, node: Node, slots: dict[int, Slot]) -> dict[int, Slot]:
        """Let hooks, retained tensors and targets see the gradients of a node's outputs."""
        for index, slot in slots.items():
            if node.hooks and index in node.hooks:
                slots[index] = slot = _hooked(node.hooks[index], slot, node.specs[index])
            if node.retained and index in node.retained:
                tensor = node.retained[index]()
                if tensor is not None and self.targets is None:
                    tensor.grad = _joined(tensor, slot)
                    slot.owned = False
            if self.targets and (id(node), index) in self.targets:
                self.found[(id(node), index)] = _taken(slot)
                slot.owned = False
        return slots

    def _hand_on(
        self, node: Node, gradients: Sequence[Any], slots: Iterable[Slot], fresh: bool = True
    ) -> None:
        """Add the gradients where the edges lead; `slots` had those that came in."""
        owners = [id(root(g)) for g in gradients if g is not None]
        spent: list[int] = []
        for slot in slots:
            (spent if slot.owned else owners).append(id(root(slot.array)))
        for edge, gradient in zip(node.edges, gradients, strict=True):
            if edge is None:
                continue
            if gradient is not None:
                # Nobody else has its memory: it is new, or all of what came in, rearranged.
                owner = root(gradient)
                key = id(owner)
                owned = fresh and owners.count(key) == 1
                if owned and key in spent:
                    owned = gradient.size == owner.size
                if type(edge) is tuple:
                    self._add_inner(edge[0], edge[1], gradient, owned)
                else:
                    self._add_leaf(edge, gradient, owned)
            if type(edge) is not tuple:
                self._arrived(edge)

    def _arrived(self, leaf: Tensor) -> None:
        """Count one user of a leaf as done; after the last the leaf gets its gradient."""
        self.waiting[id(leaf)] -= 1
        if self.waiting[id(leaf)] == 0 and id(leaf) in self.leaves:
            _, slot = self.leaves.pop(id(leaf))
            if slot is not None:
                self._deliver(leaf, slot)

    def _deliver(self, leaf: Tensor, slot: Slot) -> None:
        if leaf._hooks:
            slot = _hooked(leaf._hooks, slot, leaf)
        if self.targets is None:
            if leaf._requires_grad:
                leaf.grad = _joined(leaf, slot)
        elif id(leaf) in self.targets:
            self.found[id(leaf)] = _taken(slot)


def _key(tensor: Tensor) -> Any:
    return id(tensor) if tensor._node is None else (id(tensor._node), tensor._index)


def _edge_key(edge: Any) -> Any:
    return (id(edge[0]), edge[1]) if type(edge) is tuple else id(edge)


def _leads(edge: Any, leading: set[int]) -> bool:
    return type(edge) is tuple and id(edge[0]) in leading


def _check_usable(node: Node) -> None:
    if node.released:
        raise GraphError(
            f"backward through {node.op!r}: its saved values were freed by an earlier backward; "
            "pass retain_graph=True to the earlier one to walk the graph twice"
        )
    if written_since(node.saved, node.stamp):
        raise GraphError(
            f"backward through {node.op!r}: a value that it saved was written in place after "
            "the forward; write after the backward, or to a clone()"
        )


def _taken(slot: Slot) -> Array:
    """Give the gradient as an array that nobody else has."""
    return slot.array if slot.owned else slot.array.copy(order="K")


def _hooked(hooks: dict[int, Any], slot: Slot, value: Any) -> Slot:
    """Show a gradient to hooks, each of which may put another in its place, or write to it."""
    shown = Tensor(_taken(slot)) if hooks else Tensor(slot.array)
    for hook in list(hooks.values()):
        result = hook(shown)
        if result is None:
            continue
        if not isinstance(result, Tensor):
            raise failure("hook", "a tensor or None", error=KindError, result=type(result))
        if result.shape != value.shape:
            raise failure("hook", f"a gradient of the value's shape {value.shape}", result=result)
        shown = Tensor(result.array.astype(value.dtype, copy=False))
    return Slot(shown.array, owned=False)


def _joined(tensor: Tensor, slot: Slot) -> Tensor:
    """Add a gradient to what `.grad` holds, never writing into an array that others may hold."""
    if tensor.grad is not None:
        return Tensor(np.asarray(tensor.grad.array + slot.array))
    if slot.owned:
        return Tensor(slot.array)
    return Tensor(current_backend().copy(slot.array, tensor.array))


def first_gradient(tensor: Tensor, gradient: Any, what: str) -> Array:
    """Give the array that starts a walk: the given one checked, or 1 for a scalar."""
    if not tensor._requires_grad:
        raise GraphError(
            f"{what}: this tensor does not require grad: no leaf with requires_grad=True leads to "
            "it, or it was computed inside no_grad() or capture()"
        )
    tracer = state.TRACER.get()
    if tracer is not None:
        tracer.leak(tensor, what)
    tensor._need_data(what)
    if gradient is None:
        if tensor.array.size != 1:
            raise ShapeError(
                f"{what}: expected a value of one element, got {describe(tensor)}; "
                "pass gradient=, of the same shape, or reduce it with .sum() or .mean()"
            )
        return np.ones_like(tensor.array)
    array = gradient.array if hasattr(gradient, "array") else np.asarray(gradient)
    if array.shape != tensor.shape:
        raise failure(what, f"a gradient of the tensor's shape {tensor.shape}", gradient=array)
    if array.dtype.kind not in "fiub":
        raise failure(what, "a real gradient", error=KindError, gradient=array)
    return array.astype(tensor.dtype, copy=False)


@public
def backward(tensor: Tensor, gradient: Any, retain_graph: bool, create_graph: bool) -> None:
    """Walk from one tensor to the leaves; see Tensor.backward."""
    refuse_second_order(create_graph)
    seed = first_gradient(tensor, gradient, "backward")
    Walk(retain_graph, None).run([(tensor, seed)])


def refuse_second_order(create_graph: bool) -> None:
    """Say that gradients are first order."""
    if create_graph:
        raise NotImplementedError(
            "create_graph=True: gradients here are first order; backward works on arrays and "
            "leaves no graph of its own"
        )


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
) -> tuple[Any, ...]:
    """Give the gradients of outputs by inputs, leaving every `.grad` as it was.

    `outputs` and `inputs` are tensors or sequences of them; `grad_outputs` are the gradients
    arriving at the outputs (1 for scalars if left out).  Only the part of the graph between
    them is walked.  Returns a tuple with one tensor an input, None where an input does not
    reach the outputs and `allow_unused` is true.

    Raises RuntimeError for an unused input, or a graph that was freed; NotImplementedError for
    `create_graph=True`, since gradients are first order.

    >>> import chainrule as cr
    >>> x = cr.tensor([1.0, 2.0], requires_grad=True)
    >>> cr.grad((x * x).sum(), x)
    (tensor([2.0, 4.0]),)
    """
    refuse_second_order(create_graph)
    outs = [outputs] if hasattr(outputs, "array") else list(outputs)
    ins = [inputs] if hasattr(inputs, "array") else list(inputs)
    if grad_outputs is None:
        grad_outputs = [None] * len(outs)
    elif hasattr(grad_outputs, "array"):
        grad_outputs = [grad_outputs]
    if len(grad_outputs) != len(outs):
        raise failure(
            "grad", f"as many grad_outputs as outputs, {len(outs)}", grad_outputs=len(grad_outputs)
        )
    for t in ins:
        if not t._requires_grad:
            raise GraphError("grad: one of the inputs does not require grad")
    walk = Walk(bool(retain_graph), ins)
    walk.run([(o, first_gradient(o, g, "grad")) for o, g in zip(outs, grad_outputs, strict=True)])
    return tuple(_found(walk, i, t, bool(allow_unused)) for i, t in enumerate(ins))


def _found(walk: Walk, position: int, tensor: Tensor, allow_unused: bool) -> Any:
    array = walk.found.get(_key(tensor))
    if array is not None:
        return Tensor(array)
    if not allow_unused:
        raise GraphError(
            f"grad: input {position} does not lead to the outputs; allow_unused=True gives None"
        )
    return None
