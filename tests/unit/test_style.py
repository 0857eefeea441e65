"""House rules that no linter knows. Each test names every offender, not the first."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from lib.scenario import SCENARIOS

from ainit.cli import COMMANDS
from ainit.policy import config

ROOT = Path(__file__).resolve().parents[2]
LINES_MAX = {False: 300, True: 700}  # of a module, and of a test module
# Whole words that mean unfinished work, and names that belong to one machine only.
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX|HA" + r"CK)\b")
MACHINE_BOUND = re.compile(r"/wo" + r"rk/|/(home|Users)/[a-z]")
MIRROR = re.compile(
    r"https?://[a-z0-9.-]*(debian\.org|pypi\.org|pythonhosted\.org)/(debian|simple|pa)"
)
PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE " + r"KEY-----")
MIRRORED = (".", "ainit", "rootfs-overlay/usr/lib/ainos")


def tracked() -> list[Path]:
    """Every file that is or would be committed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout
    paths = (ROOT / name for name in sorted(set(listed.split("\0"))) if name)
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def text_of(path: Path) -> str:
    """A file's text; empty for one that is no text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


FILES = tracked()
TEXTS = {path: text_of(path) for path in FILES}


def is_python(path: Path) -> bool:
    """Whether a file is Python, by its name or its first line."""
    return path.suffix == ".py" or re.match(r"#!.*python3", TEXTS[path]) is not None


def named(paths: Iterable[Path]) -> list[str]:
    """Paths below the root, for messages."""
    return [str(path.relative_to(ROOT)) for path in paths]


def matches(pattern: re.Pattern[str], paths: Iterable[Path]) -> list[str]:
    """``file:line: text`` of every line that matches."""
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in paths
        for number, line in enumerate(TEXTS[path].splitlines(), 1)
        if pattern.search(line)
    ]


def test_modules_are_short() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {count} lines"
        for path in FILES
        if is_python(path) and (count := TEXTS[path].count("\n")) > LINES_MAX["tests" in path.parts]
    ]
    assert not long, "\n".join(long)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (UNFINISHED, "unfinished work belongs in the tracker"),
        (MACHINE_BOUND, "paths of one machine"),
        (MIRROR, "mirrors come from the host's configuration"),
        (PRIVATE_KEY, "keys are generated, never committed"),
    ],
    ids=["unfinished", "machine-bound", "mirror", "key"],
)
def test_nothing_forbidden_is_written_anywhere(pattern: re.Pattern[str], why: str) -> None:
    found = matches(pattern, FILES)
    assert not found, "\n".join([why, *found])


def test_scripts_are_verbs_that_say_what_they_do() -> None:
    scripts = [path for path in FILES if path.parent == ROOT / "scripts"]
    programs = [path for path in scripts if TEXTS[path].startswith("#!")]
    assert named(path for path in programs if path.suffix) == []
    assert named(path for path in programs if not os.access(path, os.X_OK)) == []
    assert (
        named(path for path in programs if not re.match(r'#!.*\n(""".|# .|#\n# .)', TEXTS[path]))
        == []
    )


def test_tests_mirror_the_tree() -> None:
    folders = {path.parent for path in FILES if path.name.startswith("test_")}
    unit = ROOT / "tests" / "unit"
    wrong = [
        folder
        for folder in folders
        if folder.is_relative_to(unit) and folder != unit
        if not any((ROOT / base / folder.relative_to(unit)).is_dir() for base in MIRRORED)
    ]
    assert named(wrong) == []


def test_every_make_target_is_documented_and_calls_a_script_that_exists() -> None:
    makefile = TEXTS[ROOT / "Makefile"]
    targets = re.findall(r"^([a-z-]+):(?!=)(.*)$", makefile, re.MULTILINE)
    assert [name for name, rest in targets if "## " not in rest] == []
    phony = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert sorted(" ".join(phony).split()) == sorted(name for name, _ in targets)
    called = set(re.findall(r"scripts/[a-z-]+", makefile))
    missing = [name for name in sorted(called) if not os.access(ROOT / name, os.X_OK)]
    assert not missing, " ".join(missing)


GUIDE = TEXTS[ROOT / "docs/guide.md"]
DOCUMENTS = [path for path in FILES if path.suffix == ".md"]


@pytest.mark.parametrize("path", DOCUMENTS, ids=named(DOCUMENTS))
def test_documents_point_at_what_exists(path: Path) -> None:
    text = TEXTS[path]
    targets = re.findall(r"^([a-z-]+):", TEXTS[ROOT / "Makefile"], re.MULTILINE)
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", text)
    assert [link for link in links if not (path.parent / link).exists()] == []
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= set(targets)
    assert set(re.findall(r"`(?:sudo )?ainitctl ([a-z][a-z-]*)", text)) <= COMMANDS.keys()


def test_the_examples_of_the_guide_are_right() -> None:
    examples = re.findall(r"^```toml\n((?:(?!```).*\n)*)```", GUIDE, re.MULTILINE)
    checks = {
        "[service]": lambda text: config.unit(text, "guide", "weather")[1],
        "[agent]": lambda text: config.agent(text, "guide", "filetype", "")[1],
        "[machine]": lambda text: config.machine(text, "guide")[1],
        "[publishers.acme]": lambda text: config.machine(text, "guide")[1],
    }
    assert len(examples) == len(checks)
    assert [checks[text.split("\n")[0]](text) for text in examples] == [[]] * len(checks)


def test_the_guide_lists_every_fault() -> None:
    listed = re.findall(r"^\| `([a-z-]+)` \|", GUIDE.split("## Faults")[1], re.MULTILINE)
    assert listed == [name for name in SCENARIOS if name]


DECISIONS = [path for path in DOCUMENTS if path.parent.name == "adr"]


@pytest.mark.parametrize("path", DECISIONS, ids=[path.stem for path in DECISIONS])
def test_decisions_have_the_same_parts(path: Path) -> None:
    assert re.fullmatch(r"\d{4}-[a-z0-9-]+", path.stem)
    assert re.findall(r"^## (.*)$", TEXTS[path], re.MULTILINE) == [
        "Context",
        "Decision",
        "Consequences",
    ]


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = [int(path.stem[:4]) for path in DECISIONS]
    assert numbers == list(range(1, len(numbers) + 1))
