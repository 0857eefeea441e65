"""A boot as a picture: phases as bands, a row for each unit, the critical chain highlighted. SVG.

The picture brings its own background and, where the viewer knows the reader's preference, dark
colours. Leaves out: what the times mean, see ``ainit.policy.timeline``.

    Path("boot.svg").write_bytes(draw(timeline.read(units, phases), "node1", rows=100))
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from xml.etree import ElementTree

from ..policy.timeline import AT_REST, SHOWN_S, Boot, Link, Row, critical_chain, sentence

WIDTH, MARGIN = 1200, 16
LEFT, RIGHT = 216, 1000  # of the time axis; unit names stand left of it, figures right of it
WAITED, STARTED = 1090, WIDTH - MARGIN  # right ends of the columns of figures
BANDS, ROWS, ROW_HEIGHT, BAR = 66, 108, 18, 12
NAME_LETTERS, LETTER = 28, 6.8  # the longest name that fits, and the width of a letter at 12 px
TICKS = 10
LEGEND = (
    ("wait", "waiting"), ("start", "starting"), ("critical", "starting, on the critical chain"),
    ("ready", "ready"), ("failed", "failed"), ("open", "not ready yet"),
)  # fmt: skip
STYLE = """
text { font: 12px "DejaVu Sans", Verdana, sans-serif; fill: #1c2733 }
.title { font-size: 16px; font-weight: bold } .bold { font-weight: bold } .dim { fill: #5a6672 }
.paper { fill: #ffffff } .tick { stroke: #c3cad1 } .zero { stroke: #5a6672 }
.band0 { fill: #e9eef3 } .band1 { fill: #d8e1ea } .link { stroke: #c2410c; stroke-width: 1.5 }
.wait { fill: #c9d0d8 } .start { fill: #2f78c4 } .critical { fill: #e8590c }
.ready { fill: #9fd3ac } .failed { fill: #b3202c } .open { fill: #b58ad6 }
@media (prefers-color-scheme: dark) {
text { fill: #e6ebf0 } .dim { fill: #a2adb8 } .paper { fill: #161b22 } .tick { stroke: #3a444f }
.zero { stroke: #a2adb8 } .band0 { fill: #222b35 } .band1 { fill: #2d3947 }
.wait { fill: #55606c } .start { fill: #4c94e0 } .ready { fill: #2f6b3f } .failed { fill: #e5534b }
}
"""


def draw(boot: Boot, title: str, rows: int) -> bytes:
    """The picture as an SVG document.

    At most ``rows`` units are drawn: those of the critical chain, then those that are not ready,
    then those whose start took longest; a line says how many are left out.
    """
    chain = critical_chain(boot)
    units = boot.during()
    shown = _chosen(units, chain, rows)
    return _Picture(boot, shown, chain).document(title, len(units) - len(shown))


def _chosen(units: list[Row], chain: list[Link], limit: int) -> list[Row]:
    critical = {link.row.name for link in chain}

    def weight(row: Row) -> tuple[bool, float, str]:
        took = math.inf if row.starting is None else row.starting
        return row.name not in critical, -took, row.name

    def place(row: Row) -> tuple[float, float, str]:
        begun = row.wanted if row.begun is None else row.begun
        return begun or 0.0, math.inf if row.settled is None else row.settled, row.name

    return sorted(sorted(units, key=weight)[:limit], key=place)


class _Picture:
    """One drawing. ``_x`` places a time on the axis."""

    def __init__(self, boot: Boot, rows: list[Row], chain: list[Link]) -> None:
        self._boot, self._rows, self._chain = boot, rows, chain
        self._critical = {link.row.name for link in chain}
        spans = boot.phases
        self._start = min((span.start for span in spans), default=0.0)
        last = [span.end for span in spans]
        last += [row.settled for row in rows if row.settled is not None and not row.restarts]
        last += [row.begun for row in rows if row.begun is not None and not row.restarts]
        self._end = max(last, default=0.0)
        if self._end - self._start < SHOWN_S:
            self._end = self._start + 1.0
        self._bottom = ROWS + ROW_HEIGHT * max(len(rows), 1)
        self._root = ElementTree.Element(
            "svg", xmlns="http://www.w3.org/2000/svg", width=str(WIDTH), height="0"
        )

    def document(self, title: str, hidden: int) -> bytes:
        """Draw everything."""
        height = self._bottom + 64
        self._root.set("height", str(height))
        self._root.set("viewBox", f"0 0 {WIDTH} {height}")
        ElementTree.SubElement(self._root, "title").text = _clean(f"Boot of {title}")
        ElementTree.SubElement(self._root, "style").text = STYLE
        self._box(self._root, "paper", 0, 0, WIDTH, height)
        self._text(self._root, MARGIN, 28, f"Boot of {title}", "title")
        self._text(self._root, MARGIN, 50, self._summary(hidden), "dim")
        self._phases()
        self._axis()
        self._text(self._root, WAITED, ROWS - 8, "waited", "dim", "end")
        self._text(self._root, STARTED, ROWS - 8, "started in", "dim", "end")
        for index, row in enumerate(self._rows):
            self._row(row, ROWS + ROW_HEIGHT * index)
        self._links()
        self._legend(self._bottom + 44)
        return bytes(ElementTree.tostring(self._root, encoding="utf-8", xml_declaration=True))

    def _x(self, at: float) -> float:
        share = (at - self._start) / (self._end - self._start)
        return round(LEFT + (RIGHT - LEFT) * min(max(share, 0.0), 1.0), 2)

    def _summary(self, hidden: int) -> str:
        spans = self._boot.phases
        said = [f"{span.name} {span.seconds:.1f} s" for span in spans]
        if spans:
            said.append(f"together {spans[-1].end - spans[0].start:.1f} s")
        if hidden:
            said.append(f"{hidden} more units, which started faster, are not shown")
        return ", ".join(said) or "no phase is known"

    def _phases(self) -> None:
        for index, span in enumerate(self._boot.phases):
            left, right = self._x(span.start), self._x(span.end)
            group = self._group(f"{span.name}: {span.seconds:.1f} s")
            self._box(
                group, f"band{index % 2}", left, BANDS, right - left, self._bottom - BANDS, "phase"
            )
            if len(span.name) * LETTER + 8 <= right - left:
                self._text(group, (left + right) / 2, BANDS + 14, span.name, "", "middle")

    def _axis(self) -> None:
        step = _step((self._end - self._start) / TICKS)
        first, last = math.ceil(self._start / step - 1e-9), math.floor(self._end / step + 1e-9)
        digits = max(0, -math.floor(math.log10(step)))
        for number in range(first, last + 1):
            at = self._x(number * step)
            ElementTree.SubElement(
                self._root,
                "line",
                {
                    "class": "tick" if number else "zero",
                    "x1": str(at),
                    "x2": str(at),
                    "y1": str(ROWS - 4),
                    "y2": str(self._bottom),
                },
            )
            for y in (ROWS - 8, self._bottom + 16):
                self._text(self._root, at, y, f"{number * step:.{digits}f} s", "dim", "middle")

    def _row(self, row: Row, top: float) -> None:
        is_critical = row.name in self._critical
        group = self._group(sentence(self._link(row)), row.name)
        name = row.name if len(row.name) <= NAME_LETTERS else row.name[: NAME_LETTERS - 1] + "…"
        style = "bold" if is_critical else ""
        self._text(group, LEFT - 10, top + 11, name, style, "end")
        if row.waited is not None:
            self._text(group, WAITED, top + 11, f"{row.waited:.1f} s", style, "end")
        if row.starting is not None:
            self._text(group, STARTED, top + 11, f"{row.starting:.1f} s", style, "end")
        elif row.state:
            self._text(group, STARTED, top + 11, row.state, style, "end")
        if row.wanted is not None:
            self._bar(group, "wait", row.wanted, self._until(row.begun, row.settled), top + 3, 6)
        if row.begun is None:
            return
        if row.ready is not None:
            self._bar(group, "critical" if is_critical else "start", row.begun, row.ready, top)
            if row.state not in AT_REST:
                self._bar(group, "ready", row.ready, self._end, top + 3, 6)
        elif row.state == "exited":
            self._bar(group, "start", row.begun, self._until(row.settled), top)
        else:
            kind = "failed" if row.state in AT_REST else "open"
            self._bar(group, kind, row.begun, self._until(row.settled), top)

    def _link(self, row: Row) -> Link:
        return next((link for link in self._chain if link.row is row), Link(row, row.blocked_by))

    def _links(self) -> None:
        """A line down from where a unit came to rest to where the one that waited for it starts."""
        places = {row.name: ROWS + ROW_HEIGHT * index for index, row in enumerate(self._rows)}
        for link in self._chain:
            here, there = places.get(link.row.name), places.get(link.next)
            if here is not None and there is not None and link.row.begun is not None:
                at, low, high = self._x(link.row.begun), min(here, there), max(here, there)
                line = {"class": "link", "x1": str(at), "x2": str(at)}
                line |= {"y1": str(low + BAR), "y2": str(high)}
                ElementTree.SubElement(self._root, "line", line)

    def _legend(self, y: float) -> None:
        x: float = LEFT
        for kind, words in LEGEND:
            self._box(self._root, kind, x, y - 10, 18, BAR)
            self._text(self._root, x + 24, y, words, "")
            x += 24 + len(words) * LETTER + 22

    def _until(self, *times: float | None) -> float:
        return next((at for at in times if at is not None), self._end)

    def _group(self, title: str, unit: str = "") -> ElementTree.Element:
        group = ElementTree.SubElement(self._root, "g")
        if unit:
            group.set("data-unit", _clean(unit))
        ElementTree.SubElement(group, "title").text = _clean(title)
        return group

    def _bar(
        self,
        group: ElementTree.Element,
        kind: str,
        first: float,
        last: float,
        top: float,
        height: float = BAR,
    ) -> None:
        left = self._x(first)
        self._box(group, kind, left, top, max(self._x(last) - left, 1.0), height)

    def _box(
        self,
        parent: ElementTree.Element,
        kind: str,
        x: float,
        y: float,
        width: float,
        height: float,
        role: str = "",
    ) -> None:
        box = {"class": f"{kind} {role}".strip(), "x": f"{x:g}", "y": f"{y:g}"}
        box |= {"width": f"{width:.6g}", "height": f"{height:g}"}
        ElementTree.SubElement(parent, "rect", box)

    def _text(
        self,
        parent: ElementTree.Element,
        x: float,
        y: float,
        words: str,
        style: str,
        anchor: str = "start",
    ) -> None:
        text = {"x": f"{x:g}", "y": f"{y:g}", "text-anchor": anchor}
        if style:
            text["class"] = style
        ElementTree.SubElement(parent, "text", text).text = _clean(words)


def _step(least: float) -> float:
    """The smallest of 1, 2, 5, 10, 20, … (and their tenths) that is no less."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def _clean(words: str) -> str:
    """Without what XML cannot hold, such as control characters; each becomes U+FFFD."""
    return "".join(_kept(words))


def _kept(words: str) -> Iterable[str]:
    for letter in words:
        code = ord(letter)
        bad = (
            code < 0x20 or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000 or code & 0xFFFE == 0xFFFE
        )
        yield "\ufffd" if bad else letter
