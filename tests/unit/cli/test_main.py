"""Global options, exit codes, messages, help and completion."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from ainit import __version__
from ainit.cli import COMMANDS, ainitctl
from ainit.cli.base import GLOBAL_OPTIONS
from ainit.wire.protocol import VarlinkError
from tests.support.control import Answer
from tests.support.replies import STATUS

from .conftest import Run, Serve

STATUS_METHOD = "org.ainos.Control.Status"
ROOT = Path(__file__).resolve().parents[3]


def commands(
    group: click.Group = ainitctl, path: tuple[str, ...] = ()
) -> list[tuple[tuple[str, ...], click.Command]]:
    """Every command below a group, with the words that lead to it."""
    found: list[tuple[tuple[str, ...], click.Command]] = []
    with click.Context(group) as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            found.append(((*path, name), command))
            if isinstance(command, click.Group):
                found += commands(command, (*path, name))
    return found


COMMAND_LIST = commands()


@pytest.mark.parametrize("place", ["before", "after"])
def test_global_options_work_on_both_sides(
    run: Run, serve: Serve, socket_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    serve({STATUS_METHOD: STATUS})
    monkeypatch.setenv("AINITCTL_SOCKET", "/nowhere")
    options = ["--socket", str(socket_path), "--json", "--timeout", "5"]
    words = [*options, "status"] if place == "before" else ["status", *options]
    result = run(*words)
    assert (result.code, json.loads(result.out)) == (0, STATUS)


def test_version(run: Run) -> None:
    assert run("--version").out == f"ainitctl {__version__}\n"


def test_nobody_at_the_socket_is_3_and_says_where(run: Run, socket_path: Path) -> None:
    result = run("status")
    assert (result.code, result.out) == (3, "")
    assert str(socket_path) in result.err
    assert "--socket" in result.err
    assert result.err.count("\n") == 1


def test_a_server_that_speaks_something_else_is_3(run: Run, socket_path: Path) -> None:
    import socket
    import threading

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(socket_path))
        listener.listen()

        def answer() -> None:
            channel, _ = listener.accept()
            with channel:
                channel.recv(4096)
                channel.sendall(b"220 mail.example ESMTP\0")

        thread = threading.Thread(target=answer)
        thread.start()
        result = run("status")
        thread.join(10)
    assert result.code == 3
    assert "does not speak the control protocol" in result.err


def test_an_answer_of_the_wrong_shape_is_3(run: Run, socket_path: Path) -> None:
    from tests.support.control import ControlServer

    server = ControlServer(socket_path, {STATUS_METHOD: {"units": "none"}})
    with pytest.raises(AssertionError, match="is no array"), server:
        assert run("status").code == 3


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (VarlinkError("org.ainos.Control.NoSuchUnit", {"name": "x"}), "no unit x"),
        (VarlinkError("org.ainos.Control.Refused", {"reason": "going down"}), "going down"),
        (
            VarlinkError("org.ainos.Control.Unavailable", {"interface": "a.B", "reason": "dead"}),
            "a.B does not answer: dead",
        ),
        (VarlinkError("org.varlink.service.PermissionDenied"), "needs root"),
        (VarlinkError("org.varlink.service.InvalidParameter", {"parameter": "n"}), "parameter n"),
        (VarlinkError("org.varlink.service.MethodNotFound", {"method": "a.B"}), "no method a.B"),
        (VarlinkError("org.varlink.service.InterfaceNotFound", {"interface": "a"}), "interface a"),
        (VarlinkError("org.example.Odd", {"why": "so"}), "org.example.Odd(why=so)"),
    ],
)
def test_an_error_reply_is_1_and_one_line(
    run: Run, serve: Serve, error: VarlinkError, words: str
) -> None:
    serve({"org.ainos.Control.Start": error})
    result = run("start", "x")
    assert (result.code, result.out) == (1, "")
    assert words in result.err
    assert result.err.startswith("ainitctl: ")
    assert result.err.count("\n") == 1


@pytest.mark.parametrize(
    "words", [["dance"], ["status", "--loud"], ["start"], ["status", "--timeout", "0"]]
)
def test_a_wrong_command_line_is_2(run: Run, words: list[str]) -> None:
    result = run(*words)
    assert (result.code, result.out) == (2, "")


def test_help_shows_every_command_and_the_exit_codes(run: Run) -> None:
    result = run("--help")
    assert result.code == 0
    assert all(f"\n  {name} " in result.out for name in COMMANDS)
    assert "Exit codes: 0 done" in result.out


@pytest.mark.parametrize(
    ("path", "command"), COMMAND_LIST, ids=[" ".join(path) for path, _ in COMMAND_LIST]
)
def test_every_command_has_help_and_the_global_options(
    run: Run, path: tuple[str, ...], command: click.Command
) -> None:
    result = run(*path, "--help")
    assert result.code == 0
    assert command.help
    assert "Global options:" in result.out
    with click.Context(command) as context:
        assert set(GLOBAL_OPTIONS) <= set(command.get_params(context))
        for parameter in command.get_params(context):
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{parameter.name} has no help"


def test_one_command_imports_no_other() -> None:
    code = (
        "import sys; from ainit.cli import main; main(['status', '--help']); "
        "print(*[name for name in sys.modules if name.startswith(('ainit.cli.', 'rich'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert set(done.stdout.splitlines()[-1].split()) == {
        "ainit.cli.base", "ainit.cli.render", "ainit.cli.reply", "ainit.cli.status",
    }  # fmt: skip


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_command(run: Run, shell: str) -> None:
    result = run("completion", shell)
    assert result.code == 0
    assert "_AINITCTL_COMPLETE" in result.out


def complete(words: str, socket_path: Path) -> list[str]:
    """What bash's completion script gets for a command line whose last word is being typed."""
    done = subprocess.run(
        [sys.executable, "-m", "ainit.cli"],
        env={
            "_AINITCTL_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
            "AINITCTL_SOCKET": str(socket_path),
        },
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("ainitctl st", ["status", "start", "stop"]),
        ("ainitctl unit s", ["show", "start", "stop"]),
        ("ainitctl --js", ["--json"]),
        ("ainitctl status --js", ["--json"]),
        ("ainitctl completion z", ["zsh"]),
        ("ainitctl restart f", ["file-type"]),
        ("ainitctl logs sp", ["speech"]),
        ("ainitctl sandbox learn sp", ["speech"]),
        ("ainitctl sandbox audit speech o", ["on", "off"]),
    ],
)
def test_completion(serve: Serve, socket_path: Path, words: str, expected: list[str]) -> None:
    serve({STATUS_METHOD: STATUS})
    assert complete(words, socket_path) == expected


def test_completion_is_silent_without_a_machine(socket_path: Path) -> None:
    assert complete("ainitctl restart f", socket_path) == []


JSON_COMMANDS: dict[str, tuple[list[str], dict[str, Answer]]] = {
    "start": (["start", "x"], {"org.ainos.Control.Start": {}}),
    "stop": (["unit", "stop", "x"], {"org.ainos.Control.Stop": {}}),
    "shutdown": (["shutdown"], {"org.ainos.Control.Shutdown": {}}),
    "reboot": (["reboot"], {"org.ainos.Control.Reboot": {}}),
}


@pytest.mark.parametrize("name", JSON_COMMANDS)
def test_commands_without_an_answer_are_silent_and_still_speak_json(
    run: Run, serve: Serve, name: str
) -> None:
    words, answers = JSON_COMMANDS[name]
    server = serve(answers)
    quiet, loud = run(*words), run(*words, "--json")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")
    assert json.loads(loud.out) == {}
    assert [method for method, _ in server.calls] == list(answers) * 2
