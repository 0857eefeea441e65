"""A picture of the supervisors beside each other: bars in panels, as plain SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

WIDTH = 760
ROW = 20
GAP = 46
LEFT = 120
BAR = 500
STYLE = (
    "text{font:13px sans-serif;fill:#222}.title{font-weight:bold}"
    ".bar{fill:#9aa7b4}.own{fill:#c2410c}.page{fill:#fff}"
)


def svg(title: str, panels: Sequence[tuple[str, Mapping[str, float]]], own: str) -> str:
    """Panels of (title, name → value), each on a scale of its own; ``own`` stands out."""
    height = GAP + sum(GAP + ROW * len(values) for _, values in panels)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}"/>',
        f'<text class="title" x="12" y="24">{escape(title)}</text>',
    ]
    top = GAP
    for name, values in panels:
        out.append(f'<text class="title" x="12" y="{top + 8}">{escape(name)}</text>')
        top += 18
        most = max(values.values(), default=1.0) or 1.0
        for label, value in values.items():
            size = max(value / most * BAR, 1.0)
            kind = "own" if label == own else "bar"
            where = f'x="{LEFT - 8}" y="{top + 13}" text-anchor="end"'
            out.append(f"<text {where}>{escape(label)}</text>")
            out.append(
                f'<rect class="{kind}" x="{LEFT}" y="{top + 2}" width="{size:.1f}" height="14"/>'
            )
            out.append(f'<text x="{LEFT + size + 6:.1f}" y="{top + 13}">{value:,.4g}</text>')
            top += ROW
        top += GAP - 18
    return "\n".join([*out, "</svg>\n"])
