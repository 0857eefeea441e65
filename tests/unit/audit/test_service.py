"""The methods of org.ainos.Audit, over files of the test's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ainit.audit.files import Files
from ainit.audit.service import Audit
from ainit.audit.watches import Watches
from ainit.policy import grants, overlay
from ainit.policy.grants import READ
from ainit.policy.plan import AGENT, SERVICE, Unit
from ainit.policy.sandbox import Profile
from ainit.policy.usage import Usage
from ainit.wire.protocol import VarlinkError
from tests.support.idl import Interface

INTERFACE = Interface.named("org.ainos.Audit")
TABLE: dict[str, object] = {"read": ["/srv/a", "/srv/b"], "system_calls": ["jit"]}
MACHINE = "x86_64"


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        places = [str(folder / name) for name in ("records", "overlays", "records/on")]
        self.files = Files(*places)
        self.watches = Watches(self.files, machine=MACHINE, directory=str(folder / "audited"))
        self.unit = Unit("notes", AGENT)
        self.unit.sandbox = TABLE
        self.units = {"notes": self.unit, "log": Unit("log", SERVICE)}
        self.audit = Audit(self.files, self.watches, lambda: self.units)

    def ask(self, method: str, **parameters: object) -> Any:
        return INTERFACE.asked(self.audit.methods(), method, parameters)

    def refused(self, method: str, **parameters: object) -> str:
        with pytest.raises(VarlinkError) as caught:
            self.ask(method, **parameters)
        assert caught.value.name == "org.ainos.Audit.Refused"
        return str(caught.value.parameters["reason"])

    def record(self, hours: float = 30, path: str = "/srv/a/x") -> None:
        usage = Usage(MACHINE)
        usage.begin(grants.of(Profile(self.unit.sandbox)))
        usage.starts, usage.seconds = 2, hours * 3600
        usage.path(READ, path, "/srv/a", by="openat", now=5.0)
        self.files.keep("notes", usage)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_audit_mode_is_switched_and_outlives_the_service(bench: Bench) -> None:
    assert bench.ask("List") == {"agents": []}
    bench.ask("Audit", agent="notes", on=True)
    bench.ask("Audit", agent="notes", on=True)
    (listed,) = Bench(bench.folder).ask("List")["agents"]
    assert (listed["name"], listed["on"], listed["watched"]) == ("notes", True, False)
    bench.ask("Audit", agent="notes", on=False)
    bench.ask("Audit", agent="notes", on=False)
    assert bench.ask("List") == {"agents": []}


def test_switched_on_the_record_begins_anew(bench: Bench) -> None:
    bench.record()
    bench.ask("Audit", agent="notes", on=False)
    assert bench.files.usage("notes") is not None
    bench.ask("Audit", agent="notes", on=True)
    assert bench.files.usage("notes") is None
    bench.record()
    bench.ask("Audit", agent="notes", on=True)
    assert bench.files.usage("notes") is not None, "it was on"


@pytest.mark.parametrize("name", ["log", "nobody"])
@pytest.mark.parametrize("method", ["Audit", "Propose", "Apply"])
def test_only_agents_are_watched(bench: Bench, method: str, name: str) -> None:
    given: dict[str, dict[str, object]] = {"Audit": {"on": True}, "Apply": {"hours": 1}}
    more = given.get(method, {})
    with pytest.raises(VarlinkError, match="NoSuchAgent"):
        bench.ask(method, agent=name, **more)


def test_a_name_leads_nowhere_else(bench: Bench) -> None:
    for method in ("Revert", "Overlay"):
        with pytest.raises(VarlinkError, match="InvalidParameter"):
            bench.audit.methods()[method]({"agent": "../config/machine"})


def test_a_proposal_and_what_it_takes_to_apply_it(bench: Bench) -> None:
    assert bench.refused("Propose", agent="notes") == "nothing was recorded yet"
    bench.record(hours=2)
    found = bench.ask("Propose", agent="notes")["proposal"]
    assert found["sandbox"] == {"read": ["/srv/a"]}
    assert (found["before"], found["after"], found["tighter"]) == (3, 1, True)
    assert "2.0 hours were recorded, and 24 are wanted" in bench.refused(
        "Apply", agent="notes", hours=24
    )
    assert bench.files.overlay("notes") is None
    assert bench.ask("Apply", agent="notes", hours=1.5)["proposal"] == found
    assert overlay.profile(bench.unit, bench.files.overlay("notes") or b"").read == ("/srv/a",)
    assert "tighter" in bench.refused("Apply", agent="notes", hours=0)


def test_each_overlay_has_one_before_it(bench: Bench) -> None:
    bench.record()
    bench.ask("Apply", agent="notes", hours=0)
    first = bench.ask("Overlay", agent="notes")
    assert (first["sandbox"], first["problem"]) == ({"read": ["/srv/a"]}, "")
    usage = bench.files.usage("notes")
    assert usage is not None
    usage.uses.clear()
    bench.files.keep("notes", usage)
    bench.ask("Apply", agent="notes", hours=0)
    assert bench.ask("Overlay", agent="notes")["sandbox"] == {}
    assert bench.ask("Revert", agent="notes") == {"overlay": True}
    assert bench.ask("Overlay", agent="notes") == first
    assert bench.ask("Revert", agent="notes") == {"overlay": False}
    assert bench.ask("Overlay", agent="notes")["sandbox"] is None
    assert "manifest" in bench.refused("Revert", agent="notes")


def test_an_overlay_that_pid_1_would_refuse_is_told_and_can_be_reverted(bench: Bench) -> None:
    bench.record()
    bench.files.apply("notes", overlay.dump("notes", {"read": ["/srv"]}))
    assert "read /srv" in bench.ask("Overlay", agent="notes")["problem"]
    assert "read /srv" in bench.refused("Propose", agent="notes")
    assert bench.ask("Revert", agent="notes") == {"overlay": False}


def test_a_proposal_that_would_deny_is_never_applied(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proposals are right; the shadow run would notice if one were not."""
    bench.record()
    monkeypatch.setattr("ainit.policy.learn._paths", lambda *_: ({"read": ["/srv/b"]}, []))
    proposal = bench.ask("Propose", agent="notes")["proposal"]
    assert [use["what"] for use in proposal["denied"]] == ["/srv/a/x"]
    assert "would deny /srv/a/x" in bench.refused("Apply", agent="notes", hours=0)
    assert bench.files.overlay("notes") is None


def test_a_proposal_that_is_looser_is_never_applied(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.record()
    monkeypatch.setattr("ainit.policy.learn._paths", lambda *_: ({"read": ["/srv"]}, []))
    assert not bench.ask("Propose", agent="notes")["proposal"]["tighter"]
    bench.refused("Apply", agent="notes", hours=0)
    assert bench.files.overlay("notes") is None


def test_a_record_that_cannot_be_read_is_said(bench: Bench) -> None:
    bench.record()
    (bench.folder / "records/notes.json").write_text("{}")
    assert "records/notes.json is no record of use" in bench.refused("Propose", agent="notes")


def test_parameters_are_checked(bench: Bench) -> None:
    methods = bench.audit.methods()
    wrong: tuple[tuple[str, dict[str, object]], ...] = (
        ("Audit", {"agent": "notes"}),
        ("Audit", {"agent": "notes", "on": 1}),
        ("Apply", {"agent": "notes"}),
        ("Apply", {"agent": "notes", "hours": -1}),
        ("Apply", {"agent": "notes", "hours": True}),
        ("Propose", {}),
        ("Propose", {"agent": 7}),
    )
    for method, parameters in wrong:
        with pytest.raises(VarlinkError, match="InvalidParameter"):
            methods[method](parameters)
