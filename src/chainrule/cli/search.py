"""`chainrule search INDEX IMAGE`: the images of an index that are most like a picture."""

from __future__ import annotations

import json
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from chainrule.cli.progress import without_warnings
from chainrule.cli.settings import check_output
from chainrule.data.dicom_values import Window
from chainrule.engine.op import Array
from chainrule.errors import ChainruleError, DataError
from chainrule.formats.atomic import write_atomic
from chainrule.retrieval.answers import Answer, Hit
from chainrule.retrieval.asking import Question, Region
from chainrule.retrieval.index import RATE, Index
from chainrule.retrieval.page import heat_over, search_page, unlike


class ClassOption(StrEnum):
    """How the class that the network sees counts."""

    SOFT = "soft"
    HARD = "hard"
    OFF = "off"


Folder = Annotated[Path, typer.Argument(metavar="INDEX", help="The folder of an index.")]
Images = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[IMAGE]", help="A picture or a DICOM file; or --like alone."),
]
Count = Annotated[int, typer.Option("-k", min=1, help="How many images to find.")]
Mode = Annotated[
    ClassOption,
    typer.Option(
        "--class",
        help="How the class counts that the network sees: as a half of the score, as a filter, "
        "not at all.",
    ),
]
Part = Annotated[
    str | None,
    typer.Option(metavar="X,Y,W,H", help="Only this part of the picture, in its pixels."),
]
Like = Annotated[
    list[str] | None,
    typer.Option(metavar="ID ...", help="More like these images of the index."),
]
Page = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Write a page with pictures and heat maps."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the page.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write the answer as JSON.")]
Own = Annotated[
    bool,
    typer.Option("--include-own", help="Also find the query itself and its patient's images."),
]
Exact = Annotated[
    bool | None,
    typer.Option(
        "--exact/--approximate",
        help="Compare with every image, or ask the index's graph, which may miss some.",
        show_default="the graph, where there is one",
    ),
]
WindowOption = Annotated[
    str,
    typer.Option("--window", metavar="CENTRE,WIDTH", help="The grey values of DICOM to show."),
]
Frame = Annotated[
    int | None,
    typer.Option(min=0, help="Of a file with several frames, this one.", show_default="the middle"),
]
Rate = Annotated[
    float,
    typer.Option(
        min=0.0, max=1.0, help="Share of ordinary queries that may be called unlike the index."
    ),
]


def search(
    index: Folder,
    images: Images = None,
    k: Count = 10,
    mode: Mode = ClassOption.SOFT,
    region: Part = None,
    like: Like = None,
    page: Page = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    include_own: Own = False,
    exact: Exact = None,
    window: WindowOption = "",
    frame: Frame = None,
    rate: Rate = RATE,
) -> None:
    """Find the images of an index that are most like a picture, by a network's features.

    The query's own image and its patient's are left out.  Distances are 1 minus the cosine of the
    angle between features: 0 for the same.
    """
    if page is not None:
        check_output(page, ("html", "htm"))
        if page.exists() and not overwrite:
            raise DataError(f"{page}: already there; take another name, or --overwrite")
    opened = Index(index)
    with without_warnings():
        image, ids = _sorted_out(images or [], like)
    question = _asked(opened, image, region, ids, frame, window)
    approximate = None if exact is None else not exact

    def answer(how: str) -> Answer:
        return opened.search(
            question, k, mode=how, include_own=include_own, approximate=approximate, rate=rate
        )

    found = answer(mode.value)
    if page is not None:
        answers = [(_TITLES[found.mode], found)]
        if found.mode != "off":
            answers.append((_TITLES["off"], answer("off")))
        write_atomic(page, _page(opened, question, answers))
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
    else:
        _tell(found)
        if page is not None:
            typer.echo(f"page: {page}")


_TITLES = {
    "soft": "With class prediction",
    "hard": "Of the predicted class alone",
    "off": "Without class prediction",
}


def _sorted_out(words: list[Path], like: list[str] | None) -> tuple[Path | None, list[str]]:
    """Tell the picture from the ids that stand behind a --like: `--like ID ID ID`."""
    ids = [part for text in like or [] for part in text.split(",") if part]
    pictures = []
    for word in words:
        if like and re.fullmatch(r"[0-9a-f]{32}", str(word)) and not word.exists():
            ids.append(str(word))
        else:
            pictures.append(word)
    if len(pictures) > 1:
        raise DataError(
            f"search: expected one picture; got {len(pictures)}: {pictures[0]}, {pictures[1]}"
        )
    return (pictures[0] if pictures else None), ids


def _asked(
    index: Index,
    image: Path | None,
    region: str | None,
    like: list[str],
    frame: int | None,
    window: str,
) -> Question:
    if image is None and region is not None:
        raise DataError("--region: expected a picture to take the part of; got none")
    part = None if region is None else Region.parse(region)
    grey = Window.parse(window) if window else None
    try:
        return index.ask(image, region=part, like=like, frame=frame, window=grey)
    except ChainruleError as error:
        if image is None or not str(error).startswith("the file: "):
            raise
        raise DataError(f"{image}: {str(error).removeprefix('the file: ')}") from error


def _page(index: Index, question: Question, answers: list[tuple[str, Answer]]) -> str:
    if question.picture is None:
        return search_page(answers, None)
    maps = [_maps(index, question, found.hits) for _, found in answers]
    return search_page(answers, question.picture.pixels, question.picture.white, maps)


def _maps(index: Index, question: Question, hits: list[Hit]) -> list[tuple[Array, Array]]:
    """Draw for each hit where the query is like it, and where it is like the query."""
    if question.x is None or not all(hit.thumbnail for hit in hits) or not hits:
        return []
    seen = index.network.plain(question.x)
    pairs = []
    for hit, values in zip(hits, index.why(question, hits), strict=True):
        other, picture = index.why_hit(question, hit)
        pairs.append((heat_over(seen, values), heat_over(picture, other)))
    return pairs


def _tell(answer: Answer) -> None:
    for note in answer.notes:
        typer.echo(note)
    if answer.probabilities.size:
        classes = ", ".join(f"{name} ({100 * p:.2f} %)" for name, p in answer.likeliest(3))
        typer.echo(f"the query: {classes}")
    said = unlike(answer)
    if said:
        typer.echo(said)
    for place, hit in enumerate(answer.hits, start=1):
        typer.echo(f"{place:3}  {_line(hit)}")
    if not answer.hits:
        typer.echo("no image was found; the query's own and its patient's come with --include-own")


def _line(hit: Hit) -> str:
    parts = [hit.id, f"similarity {hit.similarity:.4f}", hit.shown_class or "no class"]
    if hit.label is not None and hit.predicted and hit.predicted != hit.label:
        parts.append(f"(the network sees {hit.predicted})")
    parts += [f"frame {hit.frame}"] if hit.frame else []
    parts += [f"{name}={value}" for name, value in hit.tags.items()]
    parts += [hit.path] if hit.path else []
    return "  ".join(parts)
