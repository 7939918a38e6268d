"""Tables of learned vectors: one for each whole number, or one for each bag of them."""

from __future__ import annotations

from typing import Any, Self

from chainrule.engine.creation import empty
from chainrule.engine.tensor import Tensor, as_tensor, mark_written
from chainrule.errors import failure
from chainrule.nn import functional as F
from chainrule.nn import init
from chainrule.nn.linear import count
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter
from chainrule.ops.embedding import NONE, table_row


class _Table(Module):
    """Base of the embedding layers: the table, its settings, and the row that pads."""

    def __init__(
        self,
        sizes: tuple[int, int],
        padding_idx: int | None,
        weight: Tensor | None,
        freeze: bool,
        device: str | None,
        dtype: Any,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.num_embeddings = count(sizes[0], f"{name} num_embeddings")
        self.embedding_dim = count(sizes[1], f"{name} embedding_dim")
        row = table_row(name, padding_idx, self.num_embeddings)
        self.padding_idx = None if row == NONE else row
        shape = self.num_embeddings, self.embedding_dim
        if weight is None:
            made = empty(shape, dtype=dtype, device=device)
            self.weight = Parameter(made, requires_grad=not freeze)
            self.reset_parameters()
            return
        table = as_tensor(weight, name)
        if table.shape != shape:
            raise failure(name, f"a weight {shape}", weight=table)
        self.weight = Parameter(table, requires_grad=not freeze)

    def reset_parameters(self) -> None:
        """Draw the rows anew from a normal distribution; the one that pads becomes 0."""
        init.normal_(self.weight)
        if self.padding_idx is not None and not self.weight.is_meta:
            self.weight.array[self.padding_idx] = 0
            mark_written(self.weight)

    @classmethod
    def _made_of(cls, embeddings: Any, freeze: bool, **settings: Any) -> Self:
        """Make a layer around a table that is there already."""
        table = as_tensor(embeddings, cls.__name__)
        if table.ndim != 2:
            rule = "a table (num_embeddings, embedding_dim)"
            raise failure(f"{cls.__name__}.from_pretrained", rule, embeddings=table)
        make: Any = cls
        layer: Self = make(*table.shape, _weight=table, **settings)
        layer.weight.requires_grad = not freeze
        return layer

    def _text(self, *names: str, **defaults: Any) -> str:
        """Write the sizes, and those settings that are not the defaults."""
        parts = [f"{self.num_embeddings}, {self.embedding_dim}"]
        for name in names:
            value = getattr(self, name)
            if value != defaults.get(name):
                parts.append(f"{name}={value!r}")
        return ", ".join(parts)


class Embedding(_Table):
    """A learned vector for each of `num_embeddings` whole numbers; see `functional.embedding`.

    Shapes: indices (...), int64 or int32 -> (..., embedding_dim); `weight` is (num_embeddings,
    embedding_dim) and begins normal.  The row `padding_idx` begins as 0 and gets no gradient.
    With `max_norm` rows are scaled down in place to that `norm_type`-norm when they are looked up.
    `scale_grad_by_freq` divides a row's gradient by its number of uses in the batch; `sparse` is
    accepted, the gradient is dense.  Torch's LookupTable, Caffe's embed.
    Raises ValueError for sizes and a padding_idx that do not fit; the forward IndexError for an
    index outside 0..num_embeddings-1 and TypeError for other dtypes.

    >>> import chainrule as cr
    >>> layer = cr.nn.Embedding(10, 3, padding_idx=0)
    >>> layer(cr.tensor([[0, 2], [0, 5]])).shape, layer(cr.tensor([0])).tolist()
    ((2, 2, 3), [[0.0, 0.0, 0.0]])
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        sizes = num_embeddings, embedding_dim
        super().__init__(sizes, padding_idx, _weight, _freeze, device, dtype)
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Self:
        """Make a layer around a table (num_embeddings, embedding_dim), not learned if `freeze`.

        The memory is shared.  Raises ValueError for what is no matrix.

        >>> import chainrule as cr
        >>> layer = cr.nn.Embedding.from_pretrained(cr.tensor([[1.0, 2.0], [3.0, 4.0]]))
        >>> layer(cr.tensor(1)), layer.weight.requires_grad
        (tensor([3.0, 4.0]), False)
        """
        return cls._made_of(
            embeddings,
            freeze,
            padding_idx=padding_idx,
            max_norm=max_norm,
            norm_type=norm_type,
            scale_grad_by_freq=scale_grad_by_freq,
            sparse=sparse,
        )

    def forward(self, input: Tensor) -> Tensor:
        """Look the rows up: (...) -> (..., embedding_dim)."""
        return F.embedding(
            input,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )

    def extra_repr(self) -> str:
        """Show the sizes and what differs from the default."""
        names = ("padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse")
        return self._text(*names, norm_type=2, scale_grad_by_freq=False, sparse=False)


class EmbeddingBag(_Table):
    """The sum, mean or largest of the vectors of a bag of numbers; see `functional.embedding_bag`.

    Shapes: indices (bags, N), or (N,) with `offsets` (bags,) where the bags begin ->
    (bags, embedding_dim); `weight` as in Embedding, whose settings these are.  `mode` is "mean",
    "sum" or "max"; entries equal to `padding_idx` count for nothing; `include_last_offset` means
    that the last offset is an end alone.  Raises as the function does.

    >>> import chainrule as cr
    >>> layer = cr.nn.EmbeddingBag(10, 3, mode="sum")
    >>> layer(cr.tensor([1, 2, 4, 5]), cr.tensor([0, 3])).shape
    (2, 3)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Tensor | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        sizes = num_embeddings, embedding_dim
        super().__init__(sizes, padding_idx, _weight, False, device, dtype)
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.mode = mode
        self.sparse = sparse
        self.include_last_offset = include_last_offset

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> Self:
        """Make a layer around a table (num_embeddings, embedding_dim), not learned if `freeze`.

        The memory is shared.  Raises ValueError for what is no matrix.

        >>> import chainrule as cr
        >>> layer = cr.nn.EmbeddingBag.from_pretrained(cr.tensor([[1.0, 2.0], [3.0, 4.0]]))
        >>> layer(cr.tensor([[0, 1]]))
        tensor([[2.0, 3.0]])
        """
        return cls._made_of(
            embeddings,
            freeze,
            max_norm=max_norm,
            norm_type=norm_type,
            scale_grad_by_freq=scale_grad_by_freq,
            mode=mode,
            sparse=sparse,
            include_last_offset=include_last_offset,
            padding_idx=padding_idx,
        )

    def forward(
        self,
        input: Tensor,
        offsets: Tensor | None = None,
        per_sample_weights: Tensor | None = None,
    ) -> Tensor:
        """Reduce each bag: (bags, N), or (N,) with offsets, -> (bags, embedding_dim)."""
        return F.embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            self.sparse,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
        )

    def extra_repr(self) -> str:
        """Show the sizes, the mode and what differs from the default."""
        names = ("max_norm", "norm_type", "scale_grad_by_freq", "mode", "padding_idx")
        return self._text(*names, norm_type=2, scale_grad_by_freq=False)
