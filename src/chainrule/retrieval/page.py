"""The answer to a search as one page of HTML that holds its pictures itself."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

from chainrule.engine.op import Array
from chainrule.inspection.paint import image_uri, uri
from chainrule.retrieval.answers import Answer, Hit
from chainrule.retrieval.thumbnails import as_bytes, opened

_SIDE = 256  # pixels of the query's longest side
_COVERS = 0.6  # how much of the picture the strongest colour hides
_STYLE = """
:root{color-scheme:light dark;--line:#8885}
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem}
h1{font-size:1.3rem}h2{font-size:1.05rem;margin-top:2rem}
figure{margin:0}figcaption{font-size:.85rem}
.query{display:flex;gap:2rem;flex-wrap:wrap;align-items:flex-start}
.hits{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr));gap:1rem;
padding:0;list-style:none}
.hits li{border:1px solid var(--line);border-radius:6px;padding:.6rem;overflow-wrap:anywhere}
img{max-width:100%;image-rendering:auto;background:#000}
.hits img{height:8rem;width:100%;object-fit:contain}
.why{display:flex;gap:2px}.hits .why img{height:4.5rem;width:50%}
table{border-collapse:collapse}td,th{padding:.15rem .6rem .15rem 0;text-align:left}
meter{width:10rem}.flag{border-left:4px solid #c60;padding-left:.7rem}code{font-size:.8rem}
"""


def search_page(
    answers: Sequence[tuple[str, Answer]],
    picture: Array | None,
    white: float = 255.0,
    maps: Sequence[Sequence[tuple[Array, Array]]] = (),
) -> str:
    """Write answers to one question, each under its title, as a page.

    `picture` (C, H, W) is what was asked about, None where there is none; `maps` holds for each
    answer and each of its hits two pictures (3, H, W) from 0 to 1: where the query is like the
    hit, and where the hit is like the query (`heat_over`).  The page names no file but where the
    index keeps paths, and asks nothing from anywhere.
    """
    first = answers[0][1]
    parts = [f"<h1>Images most like {'this one' if picture is not None else 'these'}</h1>"]
    parts.append(_query(first, picture, white))
    for place, (title, answer) in enumerate(answers):
        found = maps[place] if place < len(maps) else ()
        parts.append(f"<h2>{html.escape(title)}</h2>")
        parts.append(_hits(answer.hits, found))
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Search</title><style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _query(answer: Answer, picture: Array | None, white: float) -> str:
    shown = ""
    if picture is not None:
        shown = (
            f'<figure><img src="{uri(as_bytes(picture, white), _SIDE)}" alt="the query">'
            "<figcaption>the query</figcaption></figure>"
        )
    rows = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{100 * p:.1f} %</td>"
        f'<td><meter value="{p:.4f}">{100 * p:.1f} %</meter></td></tr>'
        for name, p in answer.likeliest(6)
    )
    said = [f"<p>{html.escape(note)}</p>" for note in answer.notes]
    out = answer.outlier
    if out is not None and out.flagged:
        said.append(f'<p class="flag">{html.escape(unlike(answer))}</p>')
    return (
        f'<div class="query">{shown}<div><table aria-label="the classes of the query">{rows}'
        f"</table>{''.join(said)}</div></div>"
    )


def unlike(answer: Answer) -> str:
    """Say that a query is unlike the index; "" where it is not, or where nothing can be said.

    >>> unlike(Answer([], "off", (), np.zeros(0)))
    ''
    """
    out = answer.outlier
    if out is None or not out.flagged:
        return ""
    return (
        f"Unlike what is in the index: its nearest image is {out.distance:.3f} away, and of "
        f"ordinary images {100 * out.p_value:.2g} % are as far from theirs. The class and the "
        "images below may mean nothing."
    )


def _hits(hits: Sequence[Hit], maps: Sequence[tuple[Array, Array]]) -> str:
    if not hits:
        return "<p>No image was found.</p>"
    cells = []
    for place, hit in enumerate(hits):
        lines = [f"<strong>{html.escape(hit.shown_class or 'no class')}</strong>"]
        lines.append(f"similarity {hit.similarity:.4f}, distance {hit.distance:.4f}")
        if hit.label is not None and hit.predicted != hit.label:
            lines.append(f"the network sees {html.escape(hit.predicted)}")
        lines += [html.escape(f"{name}: {value}") for name, value in hit.tags.items()]
        lines += [html.escape(hit.path)] if hit.path else []
        lines.append(f"<code>{html.escape(hit.id)}</code>")
        shown = _picture(hit, place)
        if place < len(maps):
            shown += _why(maps[place], place)
        caption = "<br>".join(lines)
        cells.append(
            f"<li><figure>{shown}<figcaption>{place + 1}. {caption}</figcaption></figure></li>"
        )
    return f'<ol class="hits">{"".join(cells)}</ol>'


def _picture(hit: Hit, place: int) -> str:
    if not hit.thumbnail:
        return "<p>(no small picture is kept)</p>"
    alt = f"image {place + 1}, {html.escape(hit.shown_class)}"
    return f'<img src="{uri(as_bytes(opened(hit.thumbnail), 255.0))}" alt="{alt}">'


def _why(pair: tuple[Array, Array], place: int) -> str:
    alts = (
        f"where image {place + 1} is like the query",
        f"where the query is like image {place + 1}",
    )
    ours, theirs = (
        f'<img src="{image_uri(part, _SIDE)}" alt="{alt}" title="{alt}">'
        for part, alt in zip(reversed(pair), alts, strict=True)
    )
    return f'<div class="why">{ours}{theirs}</div>'


def heat_over(picture: Array, values: Array) -> Array:
    """Lay a map (H, W), not negative, over a picture (C, H, W) from 0 to 1, in grey: (3, H, W).

    Where the map is 0 the picture is as it was; from there on it grows red, and yellow where the
    map is strongest.

    >>> heat_over(np.full((1, 1, 2), 0.5), np.array([[0.0, 2.0]])).round(2)[:, 0].tolist()
    [[0.5, 0.8], [0.5, 0.8], [0.5, 0.2]]
    """
    top = float(values.max())
    x = values / top if top > 0 else values
    hot = np.stack([np.ones_like(x), np.clip(1.6 * x - 0.6, 0, 1), np.zeros_like(x)])
    cover = _COVERS * x**0.8
    return np.asarray(np.clip(picture.mean(axis=0) * (1 - cover) + hot * cover, 0, 1))
