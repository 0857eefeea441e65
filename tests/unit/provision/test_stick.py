"""A stick's configuration: handed to PID 1 once, and looked at only where there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self, cast

import pytest

from ainit import constants
from ainit.child import disk
from ainit.child.client import Client, VarlinkError
from ainit.errors import AinosError, RefusedError
from ainit.linux import kmsg
from ainit.provision import __main__ as command
from ainit.provision import stick

TEXT = '[machine]\nhostname = "node1"\n'


class Asked:
    """What PID 1 answers, and what it was asked."""

    def __init__(self, configuration: str = "default", error: VarlinkError | None = None) -> None:
        self.configuration = configuration
        self.error = error
        self.given: list[Mapping[str, object]] = []

    def call(
        self, method: str, parameters: Mapping[str, object] | None = None
    ) -> Mapping[str, object]:
        match method.rpartition(".")[2]:
            case "Status":
                return {"machine": {"configuration": self.configuration}}
            case "GetPlan":
                return {"plan": {"machine": {}}}
            case "Configure":
                self.given.append(parameters or {})
                if self.error:
                    raise self.error
                return {}
        raise AssertionError(method)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Stick:
    """A stick that is there after ``late`` looks."""

    def __init__(self, path: Path, late: int = 0) -> None:
        self.path = path
        self.late = late
        self.looks = 0

    @contextmanager
    def mounted(self) -> Iterator[str]:
        self.looks += 1
        if self.looks <= self.late:
            raise disk.NotThereError("no stick")
        yield str(self.path)


def adopt(asked: Asked, found: Stick) -> str:
    return stick.adopt(cast("Client", asked), found.mounted, lambda seconds: None)


@pytest.mark.parametrize("late", [0, 3])
def test_pid_1_gets_the_file_and_hears_where_it_is_from(tmp_path: Path, late: int) -> None:
    (tmp_path / "machine.toml").write_text(TEXT)
    asked = Asked()
    assert "from now on" in adopt(asked, Stick(tmp_path, late))
    assert asked.given == [{"files": {"machine.toml": TEXT}, "source": "stick"}]


def test_a_machine_in_service_mounts_no_stick(tmp_path: Path) -> None:
    (tmp_path / "machine.toml").write_text(TEXT)
    asked, found = Asked("SMBIOS"), Stick(tmp_path)
    assert "no stick is looked at: this machine has a configuration" in adopt(asked, found)
    assert (asked.given, found.looks) == ([], 0)


def test_a_stick_of_another_name_is_none(tmp_path: Path) -> None:
    asked, found = Asked(), Stick(tmp_path, late=1000)
    assert adopt(asked, found) == "no stick is called AINOSCONFIG"
    assert not asked.given
    assert found.looks == 16


@pytest.mark.parametrize("how", ["none", "link", "directory", "fifo", "large", "bytes"])
def test_what_is_no_text_is_refused(tmp_path: Path, how: str) -> None:
    path = tmp_path / "machine.toml"
    match how:
        case "link":
            (tmp_path / "other").write_text(TEXT)
            path.symlink_to(tmp_path / "other")
        case "directory":
            path.mkdir()
        case "fifo":
            import os

            os.mkfifo(path)
        case "large":
            path.write_bytes(b"#" * ((1 << 20) + 1))
        case "bytes":
            path.write_bytes(b"\xff\xfe")
    asked = Asked()
    with pytest.raises(RefusedError, match=r"^AINOSCONFIG/machine"):
        adopt(asked, Stick(tmp_path))
    assert not asked.given


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        (
            {"findings": ["machine.toml:2: hostname is a host name"]},
            "AINOSCONFIG/machine.toml:2: hostname is a host name",
        ),
        ({"reason": "not in this state"}, "AINOSCONFIG/not in this state"),
    ],
)
def test_why_it_is_refused_is_said(
    tmp_path: Path, parameters: dict[str, object], said: str
) -> None:
    (tmp_path / "machine.toml").write_text(TEXT)
    asked = Asked(error=VarlinkError("org.ainos.Control.Refused", parameters))
    with pytest.raises(RefusedError) as error:
        adopt(asked, Stick(tmp_path))
    assert str(error.value) == said


@pytest.mark.parametrize(("error", "status"), [(None, 0), (RefusedError("file:2: why"), 1)])
def test_the_unit_tells_who_stands_at_the_screen(
    monkeypatch: pytest.MonkeyPatch, error: AinosError | None, status: int
) -> None:
    lines: list[str] = []

    def instead(client: object) -> str:
        if error:
            raise error
        return "adopted"

    monkeypatch.setattr(command, "Client", lambda *_: Asked())
    monkeypatch.setattr(stick, "adopt", instead)
    monkeypatch.setattr(kmsg, "log", lambda text, level=kmsg.INFO: lines.append(text))
    assert command.main(["stick"]) == status
    assert lines == [str(error or "adopted")]


def test_it_is_mounted_where_nobody_else_looks() -> None:
    assert stick._MOUNTED != constants.DISK
