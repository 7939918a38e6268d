"""Images found by likeness: a network's features, an index on the disk, search, evaluation."""

from chainrule.retrieval.answers import Answer, Hit, Outlier
from chainrule.retrieval.asking import Question, Region
from chainrule.retrieval.embedding import Embedded, Embedder
from chainrule.retrieval.index import Index
from chainrule.retrieval.likeness import likeness
from chainrule.retrieval.making import (
    Choices,
    Source,
    add_to_index,
    build_index,
    remove_from_index,
)
from chainrule.retrieval.measuring import Measured, measure
from chainrule.retrieval.ranking import nearest
from chainrule.retrieval.retriever import Retriever
from chainrule.retrieval.shelf import Found, Query, Shelf
from chainrule.retrieval.verifying import verify
from chainrule.retrieval.whitening import Whitening

__all__ = [
    "Answer",
    "Choices",
    "Embedded",
    "Embedder",
    "Found",
    "Hit",
    "Index",
    "Measured",
    "Outlier",
    "Query",
    "Question",
    "Region",
    "Retriever",
    "Shelf",
    "Source",
    "Whitening",
    "add_to_index",
    "build_index",
    "likeness",
    "measure",
    "nearest",
    "remove_from_index",
    "verify",
]
