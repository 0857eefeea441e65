"""What an agent may do, in words, and what is looser or tighter by another manifest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.policy import sandbox, sandbox_words
from ainit.policy.plan import AGENT, SERVICE, Unit
from ainit.policy.sandbox_words import Change, difference, explain, grants, is_looser


def agent(sandbox_table: dict[str, object] | None = None, **fields: object) -> Unit:
    """An agent with this table and these fields."""
    unit = Unit("notes", AGENT)
    unit.exec = ("/usr/bin/python3", ".")
    unit.sandbox = sandbox_table or {}
    for name, value in fields.items():
        setattr(unit, name, value)
    return unit


FULL = agent(
    {
        "read": ["/srv/in"],
        "write": ["/srv/out"],
        "execute": ["/usr/bin/git"],
        "network": ["192.0.2.7:443", "[2001:db8::1]:53", "agent:speech"],
        "system_calls": ["processes"],
        "certificate": True,
    },
    exec=("/usr/bin/notes",),
    provides=["org.ainos.agent.Notes"],
    capabilities=["CAP_NET_BIND_SERVICE"],
    credentials={"token": "/etc/token"},
    models=["magika"],
    optional_models=["silero-vad"],
    extensions=["cuda"],
    gpu_profiles=["2g.20gb", "1g.10gb"],
    gpu_profile="2g.20gb",
    sockets=[{"listen": "tcp:127.0.0.1:80"}],
    memory_max=512 << 20,
    pids_max=16,
    cpu_max=150,
)


def test_grants_are_what_this_agent_may_beyond_all() -> None:
    assert grants(agent()) == ()
    assert grants(FULL) == (
        ("read", "/srv/in"),
        ("write", "/srv/out"),
        ("execute", "/usr/bin/git"),
        ("execute", "/usr/bin/notes"),
        ("connect", "192.0.2.7:443"),
        ("connect", "[2001:db8::1]:53"),
        ("call", "speech"),
        ("answer", "org.ainos.agent.Notes"),
        ("system calls", "processes"),
        ("system calls", "internet"),
        ("system calls", "devices"),
        ("capability", "CAP_NET_BIND_SERVICE"),
        ("credential", "token"),
        ("certificate", "agent/notes"),
        ("model", "magika"),
        ("model", "silero-vad"),
        ("extension", "cuda"),
        ("gpu", "2g.20gb"),
        ("gpu", "1g.10gb"),
    )


def test_the_tightest_in_words() -> None:
    assert explain(agent()) == {
        "reads": [
            "its own bundle",
            "of the verified root: /usr/lib, /usr/lib64, /usr/share, /etc",
            "which processors and memory there are: " + ", ".join(sandbox.KERNEL_READ),
        ],
        "writes": ["/tmp, its own, empty at each start"],
        "executes": ["of the verified root: " + ", ".join(sandbox.ROOT_EXECUTE)],
        "network": ["none: local sockets only"],
        "system calls": [
            "the base class: compute, keep files, run threads, use the sockets that it is given"
        ],
        "devices": ["/dev/null, zero, full, random, urandom"],
        "capabilities": ["none"],
        "secrets": ["none"],
        "limits": [
            "memory: no limit",
            "processes and threads: no limit",
            "processor time: no limit",
        ],
        "may never": list(sandbox_words.NEVER),
    }


def test_everything_in_words() -> None:
    found = explain(FULL)
    tight = explain(agent())
    more = {
        matter: [line for line in found[matter] if line not in tight[matter]] for matter in tight
    }
    assert more == {
        "reads": [
            "the model magika",
            "the model silero-vad, when it is admitted",
            "the extension cuda, and executes it",
            "/srv/in",
            "whatever it writes or executes",
        ],
        "writes": ["/srv/out"],
        "executes": ["/usr/bin/git", "/usr/bin/notes"],
        "network": [
            "a loopback of its own, in which there is nobody else",
            "connects to 192.0.2.7:443",
            "connects to [2001:db8::1]:53",
            "calls the agent speech",
            "answers calls of org.ainos.agent.Notes",
            "takes connections at tcp:127.0.0.1:80, which PID 1 opens",
        ],
        "system calls": [
            "processes: start processes and wait for them",
            "internet: open TCP and UDP sockets, in a network of its own",
            "devices: control the devices that it may open",
        ],
        "devices": ["those of a GPU instance 2g.20gb", "those of a GPU instance 1g.10gb"],
        "capabilities": ["CAP_NET_BIND_SERVICE"],
        "secrets": [
            "the credential token",
            "a short-lived certificate as agent/notes, and its key",
        ],
        "limits": [
            "memory: 512M",
            "processes and threads: 16",
            "processor time: 150% of one processor",
        ],
        "may never": [],
    }


def test_only_the_program_of_a_command_is_executed() -> None:
    assert grants(agent(exec=("/usr/bin/a", "/srv/b"))) == (("execute", "/usr/bin/a"),)
    assert grants(agent(exec=("a", "/srv/b"))) == ()


def test_a_gpu_of_one_profile() -> None:
    assert ("gpu", "1g.10gb") in grants(agent(gpu_profile="1g.10gb"))


@pytest.mark.parametrize("key", ["write", "execute"])
def test_what_is_written_or_executed_is_read(key: str) -> None:
    assert explain(agent({key: ["/srv"]}))["reads"][-1] == "whatever it writes or executes"


def test_what_it_executes_of_its_own_writing() -> None:
    table = {"write": ["/srv"], "execute": ["/srv"], "execute_written": True}
    assert explain(agent(table))["executes"][-1] == "what it has written there itself"


def test_every_class_has_words() -> None:
    assert sandbox_words.CLASSES.keys() == {*sandbox.CLASSES, *sandbox.IMPLIED}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({}, {}, []),
        ({}, {"read": ["/srv"]}, [Change(True, "may read /srv")]),
        ({"read": ["/srv"]}, {}, [Change(False, "no more: may read /srv")]),
        (
            {"read": ["/srv"]},
            {"read": ["/srv/a"]},
            [Change(None, "may read /srv/a"), Change(False, "no more: may read /srv")],
        ),
        ({"read": ["/srv/a"]}, {"read": ["/srv"]}, [Change(True, "may read /srv")]),
        ({"read": ["/srv/a"]}, {"read": ["/srv/ab"]}, [
            Change(True, "may read /srv/ab"), Change(False, "no more: may read /srv/a"),
        ]),
        ({"read": ["/srv"]}, {"write": ["/srv"]}, [Change(True, "may write /srv")]),
        (
            {"write": ["/srv"]},
            {"read": ["/srv"]},
            [Change(None, "may read /srv"), Change(False, "no more: may write /srv")],
        ),
        (
            {"write": ["/srv"]},
            {"execute": ["/srv/run"]},
            [Change(True, "may execute /srv/run"), Change(False, "no more: may write /srv")],
        ),
        (
            {"network": "none"},
            {"network": "loopback"},
            [
                Change(
                    True,
                    "may make the system calls of internet: open TCP and UDP sockets, in a network "
                    "of its own",
                )
            ],
        ),
        (
            {"network": ["a.org:1", "agent:speech"]},
            {"network": ["a.org:2", "agent:speech"]},
            [
                Change(True, "may connect to a.org:2"),
                Change(False, "no more: may connect to a.org:1"),
            ],
        ),
        (
            {"write": ["/srv"], "execute": ["/srv"], "execute_written": True},
            {"execute": ["/srv"]},
            [
                Change(False, "no more: may write /srv"),
                Change(False, "no more: may execute what it may write"),
            ],
        ),
        (
            {"write": ["/srv"], "execute": ["/srv/x"]},
            {"write": ["/srv"], "execute": ["/srv/x"], "execute_written": True},
            [Change(True, "may execute what it may write")],
        ),
    ],
)  # fmt: skip
def test_differences(
    old: dict[str, object], new: dict[str, object], expected: list[Change]
) -> None:
    assert difference(agent(old), agent(new)) == expected


@pytest.mark.parametrize(
    ("field", "was", "now", "looser", "text"),
    [
        ("memory_max", 0, 1 << 30, False, "limit of memory: no limit, now 1G"),
        ("memory_max", 1 << 30, 0, True, "limit of memory: 1G, now no limit"),
        ("memory_max", 1 << 30, 3 << 20, False, "limit of memory: 1G, now 3M"),
        ("memory_max", 1000, 1025, True, "limit of memory: 1000 bytes, now 1025 bytes"),
        ("memory_max", 1 << 40, 3 << 10, False, "limit of memory: 1T, now 3K"),
        ("memory_max", 1 << 20, 1 << 10, False, "limit of memory: 1M, now 1K"),
        ("pids_max", 1, 1024, True, "limit of processes and threads: 1, now 1024"),
        ("pids_max", 16, 17, True, "limit of processes and threads: 16, now 17"),
        ("cpu_max", 150, 50, False,
         "limit of processor time: 150% of one processor, now 50% of one processor"),
    ],
)  # fmt: skip
def test_limits(field: str, was: int, now: int, looser: bool, text: str) -> None:
    old, new = agent(), agent()
    setattr(old, field, was)
    setattr(new, field, now)
    assert difference(old, new) == [Change(looser, text)]


def test_what_other_tables_give_is_compared_too() -> None:
    changes = difference(agent(), FULL)
    assert {change.looser for change in changes} == {True, False}
    assert [change.text for change in changes if change.looser is False] == [
        "limit of memory: no limit, now 512M",
        "limit of processes and threads: no limit, now 16",
        "limit of processor time: no limit, now 150% of one processor",
    ]
    texts = [change.text for change in changes]
    for text in (
        "may execute /usr/bin/notes",
        "may call the agent speech",
        "answers calls of org.ainos.agent.Notes",
        "has the capability CAP_NET_BIND_SERVICE",
        "is given the credential token",
        "is given the model silero-vad",
        "may use what is in the extension cuda",
        "may hold a GPU instance 1g.10gb, and open its device nodes",
    ):
        assert text in texts


def test_a_service_is_not_explained() -> None:
    with pytest.raises(ValueError, match="a is no agent"):
        explain(Unit("a", SERVICE))


PATHS = st.lists(st.sampled_from(["/a", "/a/b", "/a/b/c", "/ab", "/d"]), max_size=3)
TABLES = st.fixed_dictionaries({"read": PATHS, "write": PATHS, "execute": PATHS})


def reaches(table: dict[str, list[str]]) -> set[tuple[str, str]]:
    """By listing: which places a table lets an agent read, write and execute."""
    places = ["/a", "/a/b", "/a/b/c", "/a/b/c/x", "/ab", "/ab/x", "/d", "/d/x", "/a/x"]
    found = set()
    for key, kinds in (("read", "r"), ("write", "rw"), ("execute", "rx")):
        for path in table[key]:
            inside = [one for one in places if one == path or one.startswith(path + "/")]
            found |= {(kind, one) for one in inside for kind in kinds}
    return found


@given(TABLES, TABLES)
def test_looser_means_that_something_can_be_reached_that_could_not(
    old: dict[str, list[str]], new: dict[str, list[str]]
) -> None:
    changes = difference(agent({**old}), agent({**new}))
    assert is_looser(changes) == (not reaches(new) <= reaches(old))
    assert any(one.looser is False for one in changes) == (not reaches(old) <= reaches(new))
