"""The picture of a boot, read back as XML: bars at the right places, nothing that breaks it."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from ainit.cli.plot import LEFT, RIGHT, WIDTH, draw
from ainit.policy import timeline
from tests.support.boot import PHASES, UNITS, unit

SVG = "{http://www.w3.org/2000/svg}"
END, START = 25.5, -5.0  # of PHASES


def picture(
    units: list[dict[str, object]], phases: list[dict[str, object]] | None = None, rows: int = 100
) -> ElementTree.Element:
    boot = timeline.read(units, PHASES if phases is None else phases)
    return ElementTree.fromstring(draw(boot, "node1", rows))


def bars(root: ElementTree.Element, name: str) -> dict[str, tuple[float, float]]:
    """Class → first and last second of a unit's bars."""
    (group,) = root.findall(f"{SVG}g[@data-unit='{name}']")
    scale = (END - START) / (RIGHT - LEFT)
    found = {}
    for box in group.findall(f"{SVG}rect"):
        left, width = float(box.attrib["x"]), float(box.attrib["width"])
        first = START + (left - LEFT) * scale
        found[box.attrib["class"]] = (round(first, 1), round(first + width * scale, 1))
    return found


def names(root: ElementTree.Element) -> list[str]:
    return [group.attrib["data-unit"] for group in root.findall(f"{SVG}g[@data-unit]")]


def words(root: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def test_bars_stand_where_the_times_are() -> None:
    root = picture(UNITS)
    assert bars(root, "speech") == {
        "wait": (3.0, 20.2),
        "critical": (20.2, 25.1),
        "ready": (25.1, 25.5),
    }
    assert bars(root, "network")["start"] == (5.0, 9.0)
    assert bars(root, "crasher") == {"wait": (3.0, 3.1), "failed": (3.1, 8.0)}
    assert bars(root, "slow") == {"wait": (3.0, 4.0), "open": (4.0, END)}
    assert bars(root, "never") == {"wait": (3.0, END)}


def test_the_critical_chain_alone_is_highlighted() -> None:
    root = picture(UNITS)
    critical = {name for name in names(root) if "critical" in bars(root, name)}
    assert critical == {"devices", "gpu", "speech"}
    lines = [line for line in root.iter(f"{SVG}line") if line.attrib["class"] == "link"]
    assert len(lines) == 2


def test_units_come_in_the_order_of_their_starts() -> None:
    order = [name for name in names(picture(UNITS)) if name in ("devices", "gpu", "speech")]
    assert order == ["devices", "gpu", "speech"]


def test_phases_are_bands_with_their_names_where_they_fit() -> None:
    root = picture(UNITS)
    bands = [box for box in root.iter(f"{SVG}rect") if "phase" in box.attrib["class"]]
    edges = [float(box.attrib["x"]) for box in bands]
    assert len(bands) == len(PHASES)
    assert edges[0] == LEFT
    assert float(bands[-1].attrib["x"]) + float(bands[-1].attrib["width"]) == pytest.approx(RIGHT)
    assert "agents" in words(root)
    assert "loader" not in words(root)  # one second is too narrow, the line above names it
    assert any(text.startswith("firmware 4.0 s, loader 1.0 s") for text in words(root))


def test_the_axis_has_round_ticks() -> None:
    ticks = [text for text in words(picture(UNITS)) if text in ("-5 s", "0 s", "5 s", "25 s")]
    assert ticks == ["-5 s", "-5 s", "0 s", "0 s", "5 s", "5 s", "25 s", "25 s"]


def test_the_legend_explains_every_colour() -> None:
    assert {"waiting", "starting", "ready", "failed", "not ready yet"} <= set(words(picture([])))


def test_a_unit_says_in_words_what_it_waited_for() -> None:
    (group,) = picture(UNITS).findall(f"{SVG}g[@data-unit='speech']")
    title = group.find(f"{SVG}title")
    assert title is not None
    assert title.text == ("speech became ready at 25.1 s: waited 17.2 s for gpu, started in 4.9 s")


def test_of_a_thousand_units_the_chain_the_unready_and_the_slowest_are_drawn() -> None:
    many = [unit(f"unit-{number:04}", 3.0, 3.1, 3.2) for number in range(1000)]
    root = picture([*many, *UNITS], rows=7)
    assert set(names(root)) == {"devices", "gpu", "speech", "crasher", "never", "slow", "network"}
    assert any("1000 more units" in text for text in words(root))
    height = float(root.attrib["height"])
    assert all(0 <= float(text.attrib["y"]) < height for text in root.iter(f"{SVG}text"))
    assert len(names(picture(many, rows=5000))) == 1000


@pytest.mark.parametrize("name", ["<&\"'>", "a\x00\x1b[2J", "\ud800\ufffe", "é" * 300])
def test_any_name_gives_valid_xml_inside_the_picture(name: str) -> None:
    root = picture([unit(name, 3.0, 4.0, 5.0)])
    (shown,) = names(root)
    assert len(shown) == len(name)
    labels = [text for text in words(root) if text.startswith(shown[:3])]
    assert labels
    assert all(len(label) <= 28 for label in labels)


def test_nothing_is_drawn_outside() -> None:
    later = unit("later", 3.0, 900.0, 901.0, restarts=3)
    for box in picture([*UNITS, later]).iter(f"{SVG}rect"):
        assert float(box.attrib["x"]) + float(box.attrib["width"]) <= WIDTH


def test_an_empty_boot_is_a_picture_too() -> None:
    root = picture([], [])
    assert names(root) == []
    assert "no phase is known" in words(root)


def test_it_has_dark_colours() -> None:
    style = picture([]).find(f"{SVG}style")
    assert style is not None
    assert "prefers-color-scheme: dark" in (style.text or "")
