"""A circuit in Graphviz's language, for whoever wants to lay it out anew."""

from __future__ import annotations

from chainrule.inspection.circuits.picture import Picture
from chainrule.inspection.circuits.svg import FILLS, GRADIENT, LOCAL, VALUE, local_label


def dot_of(picture: Picture, title: str = "circuit") -> str:
    """Write the picture as a directed graph: values and gradients stand on the edges."""
    lines = [
        f"digraph {_quoted(title)} {{",
        f"  rankdir={'TB' if picture.folded else 'LR'};",
        '  node [fontname="monospace", style="filled", shape="box"];',
        '  edge [fontname="monospace", fontsize=10];',
    ]
    for number, box in enumerate(picture.boxes):
        label = _quoted("\n".join((box.title, *box.lines)))
        shape = ', shape="ellipse"' if box.kind == "gate" else ""
        lines.append(f'  b{number} [label={label}, fillcolor="{FILLS[box.kind]}"{shape}];')
    for link in picture.links:
        rows = [
            f'<font color="{colour}">{_escaped(text)}</font>'
            for text, colour in (
                (link.above, VALUE),
                (link.below, GRADIENT),
                (local_label(link) if link.local else "", LOCAL),
            )
            if text
        ]
        label = f" [label=<{'<br/>'.join(rows)}>]" if rows else ""
        lines.append(f"  b{link.start} -> b{link.end}{label};")
    if picture.note:
        lines.append(f"  label={_quoted(picture.note)};")
    return "\n".join([*lines, "}", ""])


def _quoted(text: str) -> str:
    body = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{body}"'


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
