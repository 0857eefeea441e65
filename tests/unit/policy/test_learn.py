"""What is proposed of a record: the tightest that still allows it, never anything new."""

from __future__ import annotations

from random import Random

import pytest

from ainit.policy import grants, learn, sandbox, shadow
from ainit.policy.grants import CALLS, CONNECT, EXECUTE, READ, WRITE
from ainit.policy.learn import DROP, KEEP, NARROW, Proposal
from ainit.policy.sandbox import Profile
from ainit.policy.usage import CROWD, OTHERS_MAX, PATHS_MAX, Usage

MACHINE = "x86_64"
# A call that each class is needed for, with the arguments that decide.
NEEDS: dict[str, tuple[str, tuple[int, ...]]] = {
    sandbox.ATTRIBUTES: ("fchown", (0,) * 6),
    sandbox.IDENTITY: ("setgroups", (0,) * 6),
    sandbox.IPC: ("shmget", (0,) * 6),
    sandbox.JIT: ("mmap", (0, 0, 7, 0, 0, 0)),
    sandbox.PROCESSES: ("clone", (0x11, 0, 0, 0, 0, 0)),
    sandbox.SANDBOXING: ("seccomp", (0,) * 6),
    sandbox.SCHEDULING: ("setpriority", (0,) * 6),
    sandbox.INTERNET: ("socket", (2, 1, 0, 0, 0, 0)),
}
PLACES = ("/srv/a", "/srv/b", "/opt/x/bin", "/var/lib/n", "/usr/bin/git", "/usr/lib/git-core")
PEERS = ("192.0.2.7:443", "192.0.2.8:53", "[2001:db8::1]:443", "notes.example.org:443", "agent:a")


def propose(profile: Profile, usage: Usage) -> Proposal:
    """As if all was recorded with this profile."""
    usage.given = grants.of(profile)
    return learn.propose(profile, usage)


def used(*uses: tuple[str, str, bool]) -> Usage:
    """A record of paths: matter, path, whether it is on a file system that nobody writes."""
    usage = Usage(MACHINE)
    usage.starts, usage.seconds = 2, 90_000.0
    for now, (matter, path, fixed) in enumerate(uses):
        usage.path(matter, path, path, by="openat", now=float(now), fixed=fixed)
    return usage


def calling(usage: Usage, *classes: str) -> Usage:
    for name in classes:
        usage.call(*NEEDS[name], now=5.0)
    return usage


@pytest.mark.parametrize(
    ("table", "uses", "expected"),
    [
        pytest.param({"read": ["/srv/a"]}, [], {}, id="unused"),
        pytest.param(
            {"write": ["/srv/a"]},
            [(WRITE, "/srv/a/x/y", True)],
            {"write": ["/srv/a"]},
            id="written",
        ),
        pytest.param(
            {"write": ["/srv/a"]}, [(READ, "/srv/a/x", False)], {"read": ["/srv/a"]}, id="only read"
        ),
        pytest.param(
            {"read": ["/srv/a"]},
            [(READ, "/srv/a/x/1", True), (READ, "/srv/a/x/2", True)],
            {"read": ["/srv/a/x"]},
            id="common directory",
        ),
        pytest.param(
            {"read": ["/srv/a"]},
            [(READ, "/srv/a/x/1", True)],
            {"read": ["/srv/a/x/1"]},
            id="a file",
        ),
        pytest.param(
            {"read": ["/srv/a"]},
            [(READ, "/srv/a/x/1", True), (READ, "/srv/a/x/2", False)],
            {"read": ["/srv/a"]},
            id="what may change is not narrowed",
        ),
        pytest.param(
            {"execute": ["/usr/lib/git-core"]},
            [(EXECUTE, "/usr/lib/git-core/git", True), (READ, "/usr/lib/git-core/a", True)],
            {"execute": ["/usr/lib/git-core"]},
            id="executed, and read beside it",
        ),
        pytest.param(
            {"execute": ["/usr/lib/git-core"]},
            [(READ, "/usr/lib/git-core/a", True)],
            {},
            id="every agent may read it",
        ),
        pytest.param(
            {"write": ["/srv/a"], "execute": ["/srv/a/bin"], "execute_written": True},
            [(WRITE, "/srv/a/bin/x", False), (EXECUTE, "/srv/a/bin/x", False)],
            {"write": ["/srv/a"], "execute": ["/srv/a/bin"], "execute_written": True},
            id="compiled",
        ),
        pytest.param(
            {"write": ["/srv/a"], "execute": ["/srv/a/bin"], "execute_written": True},
            [(WRITE, "/srv/a/x", False)],
            {"write": ["/srv/a"]},
            id="no longer compiled",
        ),
    ],
)
def test_paths(
    table: dict[str, object], uses: list[tuple[str, str, bool]], expected: dict[str, object]
) -> None:
    found = propose(Profile(table), used(*uses))
    assert found.table == expected
    assert not found.denied
    assert not found.looser


@pytest.mark.parametrize("name", sandbox.CLASSES)
def test_a_class_stays_when_a_call_needs_it_and_only_then(name: str) -> None:
    wide = Profile({"system_calls": list(sandbox.CLASSES)})
    assert propose(wide, calling(used(), name)).table == {"system_calls": [name]}
    assert propose(wide, used()).table == {}


def test_what_a_gpu_brings_is_no_reason_for_a_class() -> None:
    usage = used()
    usage.call("mbind", (0,) * 6, now=1.0)
    table = {"system_calls": [sandbox.SCHEDULING]}
    assert propose(Profile(table, has_gpu=True), usage).table == {}
    assert propose(Profile(table), usage).table == table


@pytest.mark.parametrize(
    ("network", "addresses", "internet", "expected"),
    [
        ("loopback", [], False, None),
        ("loopback", [], True, "loopback"),
        (["192.0.2.7:443", "192.0.2.8:53"], ["192.0.2.7:443"], True, ["192.0.2.7:443"]),
        (["192.0.2.7:443"], [], True, "loopback"),
        (["192.0.2.7:443"], [], False, None),
        (["n.example:443", "192.0.2.7:443"], ["n.example:443"], True, ["n.example:443"]),
        (["agent:a", "192.0.2.7:443"], [], False, ["agent:a"]),
        (["agent:a"], [], False, ["agent:a"]),
        # Sockets without a peer: a list of agents alone would not have them.
        (["agent:a", "192.0.2.7:443"], [], True, ["192.0.2.7:443", "agent:a"]),
    ],
)
def test_network(network: object, addresses: list[str], internet: bool, expected: object) -> None:
    usage = calling(used(), *([sandbox.INTERNET] if internet else []))
    for address in addresses:
        usage.endpoint(address, by="connect", now=1.0)
    found = propose(Profile({"network": network}), usage)
    assert found.table.get("network") == expected
    assert not found.denied


def test_every_line_has_its_evidence() -> None:
    usage = calling(used((READ, "/srv/a/x", True), (READ, "/srv/a/x", True)), sandbox.PROCESSES)
    table = {"read": ["/srv/a", "/srv/b"], "system_calls": ["processes", "jit"]}
    found = propose(Profile(table), usage)
    told = {line.what: (line.verdict, line.new, sum(use.count for use in line.uses))
            for line in found.lines}  # fmt: skip
    assert told == {
        "/srv/a": (NARROW, ((READ, "/srv/a/x"),), 2),
        "/srv/b": (DROP, (), 0),
        "processes": (KEEP, ((CALLS, "processes"),), 1),
        "jit": (DROP, (), 0),
    }
    assert (found.before, found.after, found.is_tighter) == (4, 2, True)


def test_nothing_follows_from_nothing() -> None:
    with pytest.raises(ValueError, match="nothing was recorded"):
        propose(Profile({"read": ["/srv"]}), Usage(MACHINE))


def test_what_could_not_be_read_is_in_the_way() -> None:
    usage = used((READ, "/srv/a", True))
    usage.dropped["unread"] = 2
    with pytest.raises(ValueError, match="2 of its calls"):
        propose(Profile({"read": ["/srv/a", "/srv/b"]}), usage)
    usage.begin(grants.of(Profile({"read": ["/srv/c"]})))
    assert not usage.dropped


def test_of_what_it_did_not_have_nothing_is_known() -> None:
    usage, had = used((READ, "/srv/a/x", True)), Profile({"read": ["/srv/a"]})
    usage.given = grants.of(had)
    with pytest.raises(ValueError, match="did not have read /srv/b, system calls jit"):
        learn.propose(Profile({"read": ["/srv/a", "/srv/b"], "system_calls": ["jit"]}), usage)
    usage.begin(grants.of(Profile({"read": ["/srv/a/x"]})))
    assert usage.starts, "it may less, and what was seen is still true"
    usage.begin(grants.of(had))
    assert (usage.starts, usage.uses) == (0, {})


def test_what_the_present_profile_denies_already_is_no_obstacle() -> None:
    usage = used((READ, "/srv/a/x", True), (WRITE, "/srv/b/x", True))
    found = propose(Profile({"read": ["/srv/a"]}), usage)
    assert found.table == {"read": ["/srv/a/x"]}
    assert not found.denied


def test_of_what_the_record_is_not_whole_nothing_goes() -> None:
    usage = used()
    table: dict[str, object] = {"system_calls": ["jit"], "network": ["192.0.2.7:443"]}
    usage.dropped.update({CALLS: 1, CONNECT: 1})
    assert propose(Profile(table), usage).table == table


def test_a_shadow_run_finds_what_would_be_denied() -> None:
    usage = calling(used((WRITE, "/srv/a/x", False)), sandbox.PROCESSES)
    usage.endpoint("192.0.2.7:443", by="connect", now=1.0)
    found = shadow.denials(Profile({"read": ["/srv/a"]}), usage)
    assert [use.what for use in found] == ["/srv/a/x", "clone", "192.0.2.7:443"]
    whole = {"write": ["/srv"], "system_calls": ["processes"], "network": ["192.0.2.7:443"]}
    assert shadow.denials(Profile(whole), usage) == []


def some(random: Random, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if random.randrange(2)]


def random_profile(random: Random) -> Profile:
    table: dict[str, object] = {
        "read": some(random, PLACES[:2]),
        "write": some(random, PLACES[2:4]),
        "execute": some(random, PLACES[2:]),
        "execute_written": random.random() < 0.3,
        "network": random.choice(["none", "loopback", some(random, PEERS) or "none"]),
        "system_calls": some(random, sandbox.CLASSES),
        "certificate": random.random() < 0.3,
    }
    return Profile(table, has_gpu=random.random() < 0.3)


def random_usage(random: Random, profile: Profile) -> Usage:
    """Of what the profile allows, as the kernel lets nothing else through."""
    usage = Usage(MACHINE)
    usage.starts = 1
    entries = [(READ, each) for each in (*profile.read, *profile.write, *profile.execute)]
    entries += [(WRITE, each) for each in profile.write]
    entries += [(EXECUTE, each) for each in profile.execute]
    for _ in range(random.randrange(1, 80)):
        kind, now = random.randrange(3), random.random()
        if kind == 0 and entries:
            matter, entry = random.choice(entries)
            below = "".join(f"/{random.choice('abc')}" for _ in range(random.randrange(4)))
            fixed = random.random() < 0.7
            usage.path(matter, entry + below, entry, by="openat", now=now, fixed=fixed)
        elif kind == 1 and profile.endpoints:
            entry = grants.endpoint(*random.choice(profile.endpoints))
            usage.endpoint(entry, by="connect", now=now)
        elif kind == 2 and (names := [name for name in profile.calls if name in NEEDS]):
            usage.call(*NEEDS[random.choice(names)], now=now)
    return usage


@pytest.mark.parametrize("seed", range(300))
def test_a_proposal_is_a_subset_that_denies_nothing_recorded(seed: int) -> None:
    random = Random(seed)
    profile = random_profile(random)
    usage = random_usage(random, profile)
    assert not shadow.denials(profile, usage), "the kernel lets only this through"
    found = propose(profile, usage)
    made = Profile(found.table, has_gpu=profile.has_gpu)
    assert grants.beyond(made, profile) == [] == list(found.looser)
    assert shadow.denials(made, usage) == [] == list(found.denied)
    assert found.after <= found.before
    again = propose(made, usage)
    assert not again.is_tighter, "it is the tightest at once"
    assert again.table == found.table


@pytest.mark.parametrize("seed", range(100))
def test_no_entry_of_a_proposal_could_go(seed: int) -> None:
    """Whatever is taken away from it besides, something that was recorded would be denied; but a
    call of another agent, which no record holds.
    """
    random = Random(1000 + seed)
    profile = random_profile(random)
    usage = random_usage(random, profile)
    table = propose(profile, usage).table
    for key in ("read", "write", "execute", "system_calls"):
        listed = table.get(key, [])
        assert isinstance(listed, list)
        for gone in listed:
            fewer = {**table, key: [each for each in listed if each != gone]}
            made = Profile(fewer, has_gpu=profile.has_gpu)
            assert shadow.denials(made, usage), (key, gone)


def test_a_record_is_bounded_and_loses_no_path() -> None:
    usage = Usage(MACHINE)
    for number in range(5000):
        usage.path(WRITE, f"/srv/{number % 500}/{number}", "/srv", by="openat", now=1.0)
        usage.endpoint(f"192.0.2.1:{number}", by="connect", now=1.0)
        usage.call("ioctl", (0, number, 0, 0, 0, 0), now=1.0)
    assert len(usage.of(WRITE)) == PATHS_MAX + 1
    assert sum(use.count for use in usage.of(WRITE)) == 5000
    assert usage.dropped == {CONNECT: 5000 - OTHERS_MAX, CALLS: 5000 - OTHERS_MAX}
    assert shadow.denials(Profile({"write": ["/srv"]}), usage) == usage.of(CONNECT, CALLS)


def test_a_crowd_is_its_directory_but_never_more_than_was_listed() -> None:
    usage = Usage(MACHINE)
    for number in range(2 * CROWD):
        usage.path(READ, f"/srv/a/{number}", "/srv", by="openat", now=1.0)
        usage.path(READ, f"/opt/{number}", f"/opt/{number}", by="openat", now=1.0)
    assert [use.count for use in usage.of(READ) if use.what == "/srv/a"] == [CROWD]
    assert len([use for use in usage.of(READ) if use.what.startswith("/opt/")]) == 2 * CROWD


def test_a_record_has_a_json_form() -> None:
    usage = calling(used((READ, "/srv/a", True)), sandbox.JIT)
    usage.dropped[CALLS] = 3
    again = Usage.from_record(usage.to_record())
    assert again.to_record() == usage.to_record()
    assert list(again.uses) == list(usage.uses)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"uses": [{}]},
        {"uses": 7},
        {"dropped": None},
        {"starts": "many"},
    ],
)
def test_what_is_no_record_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"record|invalid|has"):
        Usage.from_record({**used((READ, "/a", True)).to_record(), **change})
    with pytest.raises(ValueError, match="record"):
        Usage.from_record([])


def test_verdicts_have_words() -> None:
    assert {learn.KEEP, learn.NARROW, learn.DROP} == {"keep", "narrow", "drop"}
