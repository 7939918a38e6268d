"""Sums of products, diagonals, copies, joins and grids, against PyTorch."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from tests.parity.test_gather import agree, lines, values, whole

TEXT = """
    ij,jk->ik ij,jk ij,kj->ik ij->ji ij-> ij->i ij->j ij,ij-> ij,ij->ij i,j->ij i,i i,i-> ij,j
    ij,jk,k ij,jk,kl->il ij,jk,kl->li ij,ik->jk b...,b...->... ...ij,...jk->...ik ...,... ...->...
    ij...->... ...i->i i...j->j... ba aB Aa ab,ba-> ij,jk->ki ii ii->i ij,ji->i ,ij-> ij,-> i->ii
    ij,jk->il ij,j,k ij,jkl ij... ..i.j i->...i i1 ij,,jk -> ij,jk->ikk abc->ab
"""
EQUATIONS = TEXT.split()


@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum(equation: str) -> None:
    sizes = {"i": 2, "j": 3, "k": 4, "l": 2, "b": 3, "a": 2, "A": 4, "B": 2, "c": 2}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for dots in ((), (2,), (3, 1)):
            xs = []
            for at, term in enumerate(equation.partition("->")[0].split(",")):
                shape: list[int] = []
                for part in term.replace("...", "@"):
                    shape += dots if part == "@" else (sizes.get(part, 2),)
                xs.append(values(*shape, seed=at))
            names = ", ".join("xyzw"[: len(xs)])
            agree(f"lib.einsum({equation!r}, {names})", *xs)
            agree(f"lib.einsum({equation!r}, [{names}])", *xs)
            if "..." not in equation:
                break


@pytest.mark.parametrize(
    "expression",
    lines("""
    lib.einsum("bi,bj->bij", x[:1], x)
    lib.einsum("bi,bi->b", x[:1], x)
    lib.einsum("bi,bi->", x[:, :1], x[:1])
    lib.einsum("ij,jk->ik", x, y.t()[:, ::2])
    lib.einsum("ij,ij", x, y.flip(0))
    lib.einsum(" i j -> j i ", x)
    lib.einsum(x, [0, 1], y, [2, 1], [0, 2])
    lib.einsum(x, [0, 1], y, [2, 1])
    lib.einsum(x, [..., 0], y, [..., 0])
    lib.einsum(x, [0, 1], [1, 0])
    lib.einsum(x, [0, 51], [51])
    lib.einsum(x, [0, 52], [0])
    lib.einsum(x, [0, 0])
    lib.einsum(x, [0])
    lib.einsum("ij,jk", x)
    lib.einsum("ij", x, y)
    lib.einsum("ij,jk", x, y)
    lib.einsum("ij", x[0])
    lib.einsum("ij,ij", x.long(), y.long())
    lib.einsum("ij->", x.long())
    lib.tensordot(x, y.t(), 1)
    lib.tensordot(x, y, dims=2)
    lib.tensordot(x, y, dims=0)
    lib.tensordot(x, y, ([1], [1]))
    lib.tensordot(x, y, ([0, 1], [0, -1]))
    lib.tensordot(x[:1], y, ([0], [0]))
    lib.tensordot(x, y, ([0], [1]))
    lib.tensordot(x, y, ([0, 1], [0]))
    lib.tensordot(x, y, 3)
    lib.tensordot(x, y, -1)
    lib.tensordot(x, y.long(), 2)
    lib.inner(x, y)
    x.inner(y[0])
    lib.inner(x[0], y[0])
    lib.inner(x, lib.tensor(2.0, dtype=x.dtype))
    lib.inner(x, y.t())
    lib.kron(x, y)
    x.kron(y[0])
    lib.kron(x[0], y)
    lib.kron(x, lib.tensor(2))
    lib.kron(lib.stack([x, x]), y)
    lib.chain_matmul(x, y.t(), x)
    lib.chain_matmul(x, y[0])
    lib.cross(x, y, dim=1)
    x.cross(y, dim=-1)
    lib.cross(x, y[:1], 1)
    lib.cross(x, y, 0)
    lib.cross(x, y[0], 1)
    lib.cross(x, y, 5)
    lib.addmm(x, x, z)
    x.addmm(x, z, beta=0.5, alpha=-2)
    lib.addmm(x[0], x, z, beta=2)
    lib.addmm(x[:, :1], x, z, beta=0)
    lib.addmm(x, z, x)
    lib.addmm(z, x, z)
    lib.addmm(x.long(), x.long(), z.long(), alpha=2)
    lib.addmm(x.long(), x.long(), z.long(), alpha=0.5)
    lib.addmm(x, x.long(), z.long())
    lib.addmv(x[:, 0], x, z[0])
    x[0, 0].addmv(x, z[0], beta=0.3, alpha=2)
    lib.addmv(z[0], x, z[0])
    lib.addr(x, x[:, 0], y[0])
    x[:1].addr(x[:, 0], z[0], beta=2, alpha=-1)
    lib.addr(x, x[0], y[0])
    lib.baddbmm(x, x.expand(4, 2, 3), z.expand(4, 3, 3))
    lib.baddbmm(x.expand(4, 2, 3), x.expand(4, 2, 3), z.expand(4, 3, 3), beta=2, alpha=0.5)
    lib.baddbmm(x, x.expand(4, 2, 3), z.expand(3, 3, 3))
    lib.addbmm(x, x.expand(4, 2, 3), z.expand(4, 3, 3))
    x.addbmm(x.expand(4, 2, 3), z.expand(4, 3, 3), beta=0.5, alpha=2)
    lib.addbmm(x, x, z)
    lib.addbmm(z, x.expand(4, 2, 3), z.expand(4, 3, 3))
    """),
)
def test_products(expression: str) -> None:
    agree(expression, values(2, 3), values(2, 3, seed=1), values(3, 3, seed=2))


@pytest.mark.parametrize(
    "expression",
    lines("""
    x.diagonal()
    x.diagonal(1)
    x.diagonal(-1, 1, 2)
    lib.diagonal(x, offset=9)
    lib.diagonal(x, 0, dim1=-1, dim2=0)
    x.diagonal(0, 1, 1)
    x.diagonal(0, 0, 3)
    x[0, 0].diagonal()
    x.diagonal() * 2 + x[0]
    x[0].diag()
    x[0].diag(-2)
    x[0, 0].diag(1)
    lib.diag(x[0, 0], diagonal=-2)
    x.diag()
    x.diag_embed()
    lib.diag_embed(x, 1, 0, 2)
    lib.diag_embed(x[0], offset=-2, dim1=2, dim2=1)
    x.diag_embed(0, 1, 1)
    x.diag_embed(0, 0, 5)
    x[0, 0, 0].diag_embed()
    x.diagflat()
    lib.diagflat(x[0], 2)
    x[0].trace()
    lib.trace(x[0].long())
    x.trace()
    x.tril()
    x.triu(1)
    lib.tril(x, diagonal=-1)
    lib.triu(x.transpose(0, 1), -2)
    x[0, 0].tril()
    (x > 0).tril()
    x.repeat(2, 1, 3)
    x.repeat((1, 2, 1, 1))
    x.repeat(2, 0, 1)
    x.repeat(2)
    x.repeat(1, -1, 1)
    x[0, 0, 0].repeat(3)
    x.tile(2)
    x.tile((2, 1))
    lib.tile(x, (2, 1, 1, 2))
    x.repeat_interleave(2)
    x.repeat_interleave(3, 1)
    lib.repeat_interleave(x, repeats=0, dim=-1)
    x.repeat_interleave(T([1, 0]), dim=0)
    x.repeat_interleave(T([2]), 2)
    x.repeat_interleave(T(2), 0)
    x.repeat_interleave(T([1, 2]), 1)
    x.repeat_interleave(T([1.0, 2.0]), 0)
    x.repeat_interleave(T([-1, 2]), 0)
    x.repeat_interleave(-1)
    x.repeat_interleave(2, 0, output_size=4)
    lib.repeat_interleave(T([1, 2, 0]))
    lib.repeat_interleave(T([[1]]))
    x[0, 0, 0].repeat_interleave(3)
    x.unfold(0, 2, 1)
    x.unfold(1, 2, 1)
    x.unfold(-1, 3, 2)
    x.unfold(2, 1, 3)
    x.unfold(2, 0, 1)
    x.unfold(2, 5, 1)
    x.unfold(2, 2, 0)
    x.unfold(3, 1, 1)
    x.unfold(2, -1, 1)
    x[0, 0, 0].unfold(0, 1, 1)
    x.unfold(1, 2, 1).unfold(2, 2, 2)
    lib.hstack([x, x[:, :1]])
    lib.hstack((x[0, 0], x[0, 1, :2]))
    lib.hstack([x[0, 0, 0], x[0, 0, 1]])
    lib.hstack([x, x[0]])
    lib.hstack(x)
    lib.hstack([])
    lib.vstack([x, x[:1]])
    lib.vstack([x[0, 0], x[0, 1]])
    lib.vstack([x[0, 0], x[0]])
    lib.vstack([x[0, 0, 0], x[0, 0]])
    lib.row_stack([x[0, 0], x[0, 1]])
    lib.dstack([x, x[..., :1]])
    lib.dstack([x[0], x[1]])
    lib.dstack([x[0, 0], x[0, 1]])
    lib.dstack([x[0, 0, 0], x[0, 0, 1]])
    lib.column_stack([x[0], x[0, :, 0]])
    lib.column_stack([x[0, 0], x[0, 1]])
    lib.column_stack([x[0, 0, 0], x[0, 0, 1]])
    lib.column_stack([x, x])
    x.tensor_split(3, 2)
    x.tensor_split((1, 3), 2)
    lib.tensor_split(x, 5, dim=1)
    lib.tensor_split(x, indices=(2, 1), dim=-1)
    lib.tensor_split(x, sections=2, dim=-1)
    lib.tensor_split(x, tensor_indices_or_sections=T([1]), dim=-1)
    x.tensor_split(T([1, 2]), 2)
    x.tensor_split(T(2), 1)
    x.tensor_split((-1, 9), 2)
    x.tensor_split(0)
    x.tensor_split(T([1.0]), 1)
    x.tensor_split(2, 5)
    x[0, 0, 0].tensor_split(1)
    x.hsplit(3)
    x.hsplit((1, 2))
    lib.hsplit(x[0, 0], 2)
    x.hsplit(2)
    x[0, 0, 0].hsplit(1)
    x.vsplit(2)
    lib.vsplit(x, [1])
    x[0, 0].vsplit(1)
    x.dsplit(2)
    lib.dsplit(x, (1, 2))
    x[0].dsplit(2)
    x.unsafe_chunk(2, 1)
    lib.unsafe_chunk(x, 2)
    x.unsafe_split(2, 2)
    lib.unsafe_split(x, 1, 1)
    x.split_with_sizes((1, 3), 2)
    lib.split_with_sizes(x, [1, 1])
    x.split_with_sizes((1, 2), 2)
    x.rot90()
    x.rot90(2, (1, 2))
    x.rot90(-1, (2, 0))
    lib.rot90(x, k=4, dims=(0, 2))
    lib.rot90(x, 1, [0, 0])
    lib.rot90(x, 1, [0, 5])
    lib.rot90(x, 1, [0])
    x.rot90(1.5)
    x.fliplr()
    lib.flipud(x)
    x[0, 0].fliplr()
    x[0, 0, 0].flipud()
    lib.atleast_1d(x[0, 0, 0])
    lib.atleast_2d(x[0, 0], x)
    lib.atleast_3d(x[0])
    lib.atleast_3d(x[0, 0])
    lib.atleast_3d((x[0, 0, 0], x))
    lib.broadcast_tensors(x, x[0], x[:1, :, :1])
    lib.broadcast_tensors(x, x[0, :, :3])
    lib.broadcast_tensors()
    lib.meshgrid(x[0, 0], x[0, :, 0], indexing="ij")
    lib.meshgrid(x[0, 0], x[0, :, 0], x[0, 0, 0], indexing="xy")
    lib.meshgrid([x[0, 0], x[0, :, 0]], indexing="ij")
    lib.meshgrid(x[0, 0], indexing="xy")
    lib.meshgrid(x[0], indexing="ij")
    lib.meshgrid(x[0, 0], indexing="yx")
    lib.meshgrid(x[0, 0], x[0, 0].long(), indexing="ij")
    lib.cartesian_prod(x[0, 0], x[0, :, 0])
    lib.cartesian_prod(x[0, 0], x[1, 0], x[0, :2, 0])
    lib.cartesian_prod(x[0, 0])
    lib.cartesian_prod(x[0], x[0, 0])
    lib.combinations(x[0, 0])
    lib.combinations(x[0, 0], r=3)
    lib.combinations(x[0, 0], 2, True)
    lib.combinations(x[0, 0], with_replacement=True, r=3)
    lib.combinations(x[0, 0], 5)
    lib.combinations(x[0], 2)
    lib.combinations(x[0, 0], -1)
    lib.block_diag(x[0], x[1, :2])
    lib.block_diag(x[0, 0], x[0, 0, 0], x[0])
    lib.block_diag(x)
    """),
)
def test_rearranging(expression: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        agree(expression, values(2, 3, 4))


@pytest.mark.parametrize(
    "expression",
    lines("""
    x.diagonal()
    x.diag_embed()
    x.tril()
    x.repeat(2, 1)
    x.repeat_interleave(2, 1)
    x.repeat_interleave(2)
    x.unfold(1, 2, 1)
    lib.hstack([x, x])
    x.tensor_split(2)
    x.hsplit(3)
    x.rot90()
    x.fliplr()
    lib.einsum("ij,kj->ik", x, x)
    lib.einsum("ij,ij->j", x, x)
    lib.tensordot(x, x, 2)
    lib.inner(x, x)
    lib.kron(x, x)
    lib.addmm(x, x, x.t() @ x)
    lib.cross(x, x, 1)
    lib.cartesian_prod(x[:, 0], x[:, 0])
    lib.block_diag(x, x)
    lib.meshgrid(x[:, 0], x[:, 1], indexing="ij")
    """),
)
def test_nothing_inside(expression: str) -> None:
    agree(expression, values(0, 3))


@pytest.mark.parametrize("name", ["tril_indices", "triu_indices"])
@pytest.mark.parametrize("offset", [-4, -1, 0, 1, 4])
def test_indices_of_triangles(name: str, offset: int) -> None:
    for m, n in ((3, 3), (2, 5), (5, 2), (0, 3), (3, 0)):
        agree(f"lib.{name}({m}, {n}, {offset})")
        agree(f"lib.{name}(row={m}, col={n}, offset={offset}, dtype=lib.int32)")
    agree(f"lib.{name}(-1, 2)")


def test_broadcast_shapes() -> None:
    for shapes in ("(3, 1), (2,)", "(), (0, 1)", "3, (1, 1)", "(3,), (2,)", "(-1,), (2,)"):
        agree(f"list(lib.broadcast_shapes({shapes}))")


KINDS = ["bool", "uint8", "int8", "int32", "int64", "float32"]


@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("second", KINDS)
def test_bits(first: str, second: str) -> None:
    x, y = whole(3, 4, high=7).astype(first), whole(4, high=7, seed=1).astype(second)
    for name in ("bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_left_shift",
                 "bitwise_right_shift"):  # fmt: skip
        agree(f"lib.{name}(x, y)", x, y, gradients=False)
        agree(f"x.{name}(3)", x, gradients=False)
        agree(f"lib.{name}(True, y)", x, y, gradients=False)
    for operator in ("&", "|", "^", "<<", ">>"):
        agree(f"x {operator} y", x, y, gradients=False)
        agree(f"3 {operator} y", x, y, gradients=False)
    agree("~x", x, gradients=False)
    agree("lib.bitwise_not(x)", x, gradients=False)


def test_questions() -> None:
    x = values(2, 3)
    for expression in (
        "lib.numel(x)", "lib.is_tensor(x)", "lib.is_tensor(3.0)", "lib.is_floating_point(x)",
        "lib.is_floating_point(x.long())", "x.numel()", "lib.numel([1])",
        "lib.is_floating_point(1.0)",
    ):  # fmt: skip
        agree(expression, x)


def test_a_written_diagonal_is_seen_in_the_matrix() -> None:
    agree("(x.detach().diagonal().fill_(7.0), x.detach())[1] * 1", np.zeros((3, 4)))
