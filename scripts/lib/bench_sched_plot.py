"""Pictures of the scheduler's results, as plain SVG: ratios by cell, and the curve of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

WIDTH = 760
ROW = 20
LEFT = 220
RIGHT = 40
TOP = 70
STYLE = (
    "text{font:13px sans-serif;fill:#222}.title{font-weight:bold}.page{fill:#fff}"
    ".one{stroke:#222;stroke-dasharray:4 3}.own{fill:#c2410c;stroke:#c2410c}"
    ".fgd{fill:#9aa7b4}.miso{fill:#2563eb}.line{fill:none;stroke:#c2410c;stroke-width:2}"
    ".thin{fill:none;stroke:#9aa7b4}"
)
MOST = 1.5


def cells(ratios: Mapping[str, tuple[float, float, float, float, float]]) -> str:
    """By cell: the ratio to the tuned static partition with its interval, and to two others."""
    height = TOP + ROW * len(ratios) + 30

    def x(value: float) -> float:
        return LEFT + min(value, MOST) / MOST * (WIDTH - LEFT - RIGHT)

    out = _head("Mean completion time of the learned policy, simulated: less is better", height)
    out.append('<text x="12" y="46">over: </text>')
    for place, (kind, label) in enumerate(
        (("own", "tuned static (95 %)"), ("fgd", "FGD+SJF"), ("miso", "MISO-like"))
    ):
        out.append(f'<circle class="{kind}" cx="{70 + 170 * place}" cy="42" r="4"/>')
        out.append(f'<text x="{80 + 170 * place}" y="46">{escape(label)}</text>')
    bottom = height - 24
    for tick in (0.0, 0.5, 1.0, 1.5):
        kind = "one" if tick == 1.0 else "thin"
        where = f'x1="{x(tick):.0f}" x2="{x(tick):.0f}"'
        out.append(f'<line class="{kind}" {where} y1="{TOP - 12}" y2="{bottom}"/>')
        out.append(f'<text x="{x(tick):.0f}" y="{height - 8}" text-anchor="middle">{tick}</text>')
    for number, (name, (tuned, low, high, fgd, miso)) in enumerate(ratios.items()):
        y = TOP + ROW * number
        out.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
        out.append(
            f'<line class="own" x1="{x(low):.1f}" x2="{x(high):.1f}" y1="{y}" y2="{y}"/>'
            f'<circle class="fgd" cx="{x(fgd):.1f}" cy="{y}" r="4"/>'
            f'<circle class="miso" cx="{x(miso):.1f}" cy="{y}" r="4"/>'
            f'<circle class="own" cx="{x(tuned):.1f}" cy="{y}" r="4"/>'
        )
    return "\n".join([*out, "</svg>\n"])


def curve(points: Sequence[Mapping[str, float | None]]) -> str:
    """Loss by minutes of training; the validation loss stands out."""
    height = 320
    shown = [each for each in points if each["loss"] is not None]
    most = max((each["minutes"] or 0.0 for each in shown), default=1.0) or 1.0
    losses = [each["loss"] or 0.0 for each in shown]
    checks = [each["validation"] or 0.0 for each in shown if each["validation"] is not None]
    low, high = min([*losses, *checks], default=0.0), max([*losses, *checks], default=1.0)

    def place(minutes: float, loss: float) -> str:
        y = 260 - (loss - low) / ((high - low) or 1.0) * 200
        return f"{60 + minutes / most * 660:.1f},{y:.1f}"

    out = _head("Training: mean log cost, relative to FGD+SJF (simulated): less is better", height)
    train = " ".join(place(each["minutes"] or 0.0, each["loss"] or 0.0) for each in shown)
    check = " ".join(
        place(each["minutes"] or 0.0, each["validation"] or 0.0)
        for each in shown
        if each["validation"] is not None
    )
    out.append(f'<polyline class="thin" points="{train}"/>')
    out.append(f'<polyline class="line" points="{check}"/>')
    out.append(f'<text x="8" y="64">{high:.2f}</text><text x="8" y="264">{low:.2f}</text>')
    out.append(f'<text x="60" y="290">0</text><text x="660" y="290">{most:.0f} minutes</text>')
    out.append('<text x="60" y="310">grey: training scenarios; red: validation</text>')
    return "\n".join([*out, "</svg>\n"])


def _head(title: str, height: int) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}"/>',
        f'<text class="title" x="12" y="24">{escape(title)}</text>',
    ]
