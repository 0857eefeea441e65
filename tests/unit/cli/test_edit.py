"""``ainitctl edit``: what a change would do, and doing it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ainit.policy.change import Change
from ainit.policy.plan import Plan
from ainit.wire.protocol import VarlinkError
from tests.support.control import Answer
from tests.support.replies import STATUS, UNIT
from tests.support.units import make_unit

from .conftest import Run, Serve, rows

CONTROL = "org.ainos.Control"
WEATHER = '[service]\nexec = ["/usr/bin/weather"]\n'
OWN = {"machine.toml": '[units]\nreplace = ["network"]\n', "units/network.toml": WEATHER}
NOTHING: dict[str, list[str]] = {name: [] for name in Change.__slots__}


def plan(*names: str) -> dict[str, object]:
    """A plan of units with a program each."""
    units = [make_unit(name, exec=[f"/usr/bin/{name}"]) for name in names]
    return Plan(units, {"hostname": "ainos"}).to_record()


def answers(**files: str) -> dict[str, Answer]:
    """A machine that runs ``a`` and ``b`` of its image, with files of its own."""
    units = [{**UNIT, "name": name, "desired": "up"} for name in "ab"]
    return {
        f"{CONTROL}.GetPlan": {"plan": plan("a", "b"), "base": plan("a", "b"), "files": files},
        f"{CONTROL}.Status": {**STATUS, "units": units},
        f"{CONTROL}.Configure": {"change": {**NOTHING, "start": ["weather"]}},
        f"{CONTROL}.Confirm": {},
    }


def write(folder: Path, name: str, text: str = WEATHER) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_a_dry_run_says_what_would_happen_and_changes_nothing(
    run: Run, serve: Serve, tmp_path: Path
) -> None:
    server = serve(answers())
    machine = '[machine]\nhostname = "node1"\n[units]\nreplace = ["a"]\ndisabled = ["b"]\n'
    files = [
        write(tmp_path, "machine.toml", machine),
        write(tmp_path, "a.toml"),
        write(tmp_path, "weather.toml"),
        write(tmp_path, "nightly.toml", WEATHER + '[timer]\ncalendar = "daily"\n'),
    ]
    result = run("edit", "--dry-run", *files)
    assert (result.code, result.err) == (0, "")
    assert {name: " ".join(words[1:]) for name, words in rows(result.out).items()} == {
        "NAME": "WHAT HAPPENS",
        "a": "restarts",
        "b": "is no longer a unit",
        "weather": "starts",
        "nightly": "is known, and waits for what starts it",
        **dict.fromkeys(
            (
                *("disabled", "hostname", "network", "publishers", "replace"),
                *("trusted_roots", "without_enforcement", "without_tpm"),
            ),
            "is another setting of the machine",
        ),
    }
    assert ["b", "stops"] in [line.split() for line in result.out.splitlines()]
    assert [method for method, _ in server.calls] == [f"{CONTROL}.GetPlan", f"{CONTROL}.Status"]


def test_a_dry_run_for_scripts(run: Run, serve: Serve, tmp_path: Path) -> None:
    serve(answers())
    result = run("edit", "--dry-run", "--json", write(tmp_path, "weather.toml"))
    found = json.loads(result.out)
    assert (found["start"], found["added"]) == (["weather"], ["weather"])
    assert (found["unchanged"], found["stop"], found["restart"]) == (["a", "b"], [], [])


def test_nothing_changes(run: Run, serve: Serve, tmp_path: Path) -> None:
    served = answers()
    served[f"{CONTROL}.GetPlan"] = {"plan": plan("a"), "base": plan(), "files": {}}
    serve(served)
    text = '[service]\nexec = ["/usr/bin/a"]\nstart_timeout_s = 10\n'
    text += "[backoff]\nfirst_s = 1\nfactor = 2\nmax_s = 8\nlimit = 3\n"
    result = run("edit", "--dry-run", write(tmp_path, "a.toml", text))
    assert (result.code, result.out) == (0, "nothing changes\n")


def test_a_file_is_added_to_the_configuration(run: Run, serve: Serve, tmp_path: Path) -> None:
    server = serve(answers(**{"units/other.toml": WEATHER}))
    result = run("edit", write(tmp_path, "weather.toml"))
    assert (result.code, rows(result.out)["weather"]) == (0, ["weather", "starts"])
    assert server.calls[-1] == (
        f"{CONTROL}.Configure",
        {"files": {"units/weather.toml": WEATHER}},
    )


def test_a_directory_is_the_configuration_as_a_whole(
    run: Run, serve: Serve, tmp_path: Path
) -> None:
    server = serve(answers(**{"units/other.toml": WEATHER}))
    write(tmp_path, "machine.toml", "[machine]\n")
    write(tmp_path, "units/weather.toml")
    result = run("edit", "--json", "--revert-after", "5m", str(tmp_path))
    assert (result.code, json.loads(result.out)["change"]["start"]) == (0, ["weather"])
    assert server.calls[-1] == (
        f"{CONTROL}.Configure",
        {
            "files": {
                "machine.toml": "[machine]\n",
                "units/weather.toml": WEATHER,
                "units/other.toml": "",
            },
            "revert_after_s": 300.0,
        },
    )


@pytest.mark.parametrize(
    ("text", "seconds", "words"),
    [
        ("90", 90.0, "1min 30s"),
        ("1.5s", 1.5, "1.5s"),
        ("2min", 120.0, "2min"),
        ("1h", 3600.0, "1h"),
    ],
)
def test_a_revert_is_announced(
    run: Run, serve: Serve, tmp_path: Path, text: str, seconds: float, words: str
) -> None:
    server = serve(answers())
    result = run("edit", "--revert-after", text, write(tmp_path, "weather.toml"))
    assert f"in {words}" in result.out
    assert "unless: ainitctl edit confirm" in result.out
    assert server.calls[-1][1]["revert_after_s"] == seconds


@pytest.mark.parametrize("option", [(), ("--json",)])
def test_confirm(run: Run, serve: Serve, option: tuple[str, ...]) -> None:
    server = serve(answers())
    result = run("edit", "confirm", *option)
    assert (result.code, result.out) == (0, "{}\n" if option else "")
    assert server.calls == [(f"{CONTROL}.Confirm", {})]


@pytest.mark.parametrize(
    "words",
    [
        ("confirm", "--dry-run"),
        ("confirm", "--revert-after", "5m"),
        ("x.toml", "--dry-run", "--revert-after", "5m"),
        ("x.toml", "--revert-after", "soon"),
        ("x.toml", "--revert-after", "0"),
        (),
    ],
)
def test_a_wrong_command_line_reaches_no_machine(
    run: Run, serve: Serve, words: tuple[str, ...]
) -> None:
    server = serve(answers())
    assert run("edit", *words).code == 2
    assert server.calls == []


def test_findings_name_the_files_that_were_given(run: Run, serve: Serve, tmp_path: Path) -> None:
    server = serve(answers())
    bad = write(tmp_path, "bad.toml", WEATHER + "colour = 1\n")
    image = write(tmp_path, "a.toml")
    assert run("edit", bad).err.startswith(f"{bad}:3: unknown key colour")
    result = run("edit", image)
    assert (result.code, result.out) == (1, "")
    assert result.err == f"{image}:1: a is a unit of the image; [units] replace does not name it\n"
    assert f"{CONTROL}.Configure" not in [method for method, _ in server.calls]


def test_every_file_that_cannot_be_sent_is_a_finding(
    run: Run, serve: Serve, tmp_path: Path
) -> None:
    serve(answers())
    agent = write(tmp_path, "manifest.toml", '[agent]\nexec = ["x"]\n')
    one, other = write(tmp_path, "x/c.toml"), write(tmp_path, "y/c.toml")
    empty = tmp_path / "empty"
    empty.mkdir()
    result = run("edit", agent, one, other, str(tmp_path / "missing.toml"), str(empty))
    assert result.code == 1
    lines = result.err.splitlines()
    assert lines[0] == f"{empty}:1: the directory holds no .toml file"
    assert lines[1] == f"{agent}:1: is of an agent, which comes with the image"
    assert lines[2] == f"{other}:1: is given twice, also as {one}"
    assert "missing.toml:1: cannot be read" in lines[3]


def test_the_present_files_are_checked_with_the_new_one(
    run: Run, serve: Serve, tmp_path: Path
) -> None:
    serve(answers(**OWN))
    result = run("edit", write(tmp_path, "weather.toml"))
    assert result.err == (
        "machine.toml:2: replace names network, but the image has no unit of that name\n"
    )


def test_an_answer_that_is_no_plan_is_3(run: Run, serve: Serve, tmp_path: Path) -> None:
    served = answers()
    served[f"{CONTROL}.GetPlan"] = {"plan": {}, "base": {"schema": 2}, "files": {}}
    serve(served)
    result = run("edit", write(tmp_path, "weather.toml"))
    assert (result.code, "base in the answer is no plan" in result.err) == (3, True)


def test_what_the_machine_alone_finds_is_told(run: Run, serve: Serve, tmp_path: Path) -> None:
    served = answers()
    served[f"{CONTROL}.Configure"] = VarlinkError(
        f"{CONTROL}.InvalidConfiguration", {"findings": ["units/weather.toml:1: odd", "x"]}
    )
    serve(served)
    result = run("edit", write(tmp_path, "weather.toml"))
    assert (result.code, result.out) == (1, "")
    assert result.err.endswith("in the configuration: units/weather.toml:1: odd; x\n")


def test_the_machine_refuses(run: Run, serve: Serve, tmp_path: Path) -> None:
    served = answers()
    served[f"{CONTROL}.Configure"] = VarlinkError(f"{CONTROL}.Refused", {"reason": "no room"})
    serve(served)
    result = run("edit", write(tmp_path, "weather.toml"))
    assert (result.code, result.out) == (1, "")
    assert "no room" in result.err
