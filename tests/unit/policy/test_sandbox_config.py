"""Whatever is wrong in ``[sandbox]`` is a finding at its line; docs/sandbox.md has every key."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.policy import config, relations, sandbox, sandbox_config, sandbox_words, seccomp
from ainit.policy.kernel_names import CAPABILITIES
from ainit.policy.plan import AGENT, SERVICE, Unit
from ainit.policy.sandbox import Profile
from ainit.policy.system_calls import X86_64
from ainit.wire.codec import dumps, loads
from tests.support.seccomp import load

TEXT = (Path(__file__).resolve().parents[3] / "docs/sandbox.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(\w+)` \| ([^|]*) \| ([^|]*)\| ([^|]*) \| `([^|]*)` \|$", re.MULTILINE)
HEAD = '[agent]\nexec = ["/usr/bin/python3", "."]\n'


def findings(lines: str, agent: str = "") -> list[str]:
    """What is found in a manifest whose [sandbox] begins at line 10: ``line: message``."""
    head = HEAD + agent
    text = head + "\n" * (9 - head.count("\n")) + "[sandbox]\n" + lines + "\n"
    found = config.agent(text, "a.toml", "a", "")[1]
    assert all(one.file == "a.toml" for one in found)
    return [f"{one.line}: {one.message}" for one in found]


@pytest.mark.parametrize(
    "lines",
    [
        "",
        'read = []\nwrite = []\nexecute = []\nexecute_written = false\nnetwork = "none"',
        'network = "loopback"\nsystem_calls = []',
        'read = ["/srv"]\nwrite = ["/srv/out"]\nexecute = ["/usr/bin/git", "/usr/lib/git-core"]',
        'write = ["/var/lib/notes", "/var/lib/ainos/agents/notes"]',
        'read = ["/sys/class/thermal", "/run/host.json"]',
        'network = ["10.1.2.3:1", "[2001:db8::1]:65535", "a-b.example.org:80", "agent:speech"]',
        'write = ["/srv"]\nexecute = ["/srv"]\nexecute_written = true',
        'write = ["/srv/a"]\nexecute = ["/srv"]\nexecute_written = true',
        f"system_calls = {list(sandbox.CLASSES)}",
    ],
)
def test_what_is_right(lines: str) -> None:
    assert findings(lines) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('read = "/srv"', "read is a list"),
        ('read = ["srv"]', "read is an absolute path, without . and .. in it"),
        ('write = ["/srv/../etc"]', "write is an absolute path, without . and .. in it"),
        ('write = ["/srv/."]', "write is an absolute path, without . and .. in it"),
        ('execute = ["/usr//bin/git"]', "execute is an absolute path, without . and .. in it"),
        ('execute = ["/usr/bin/"]', "execute is an absolute path, without . and .. in it"),
        ("read = [1]", "read is a string"),
        ('read = ["/srv\\u0000"]', "read is a string"),
        ('read = ["/srv", "/srv"]', "read has /srv twice"),
        ('read = ["/"]', "read has /, which is everything: name what it needs"),
        ('execute_written = "yes"', "execute_written is true or false"),
        (
            'network = "all"',
            ('network is "none", "loopback" or a list such as ["192.0.2.7:443", "agent:NAME"]'),
        ),
        (
            "network = true",
            ('network is "none", "loopback" or a list such as ["192.0.2.7:443", "agent:NAME"]'),
        ),
        ("network = []", 'network is an empty list: that is "none"'),
        ("network = [443]", "network is a string"),
        ('network = ["example.org"]', "network has 'example.org', which is no HOST:PORT"),
        ('network = ["example.org:0"]', "network has example.org:0: ports are 1 to 65535"),
        ('network = ["example.org:65536"]', "network has example.org:65536: ports are 1 to 65535"),
        ('network = ["example.org:http"]', "network has 'example.org:http', which is no HOST:PORT"),
        ('network = ["*:443"]', "network has *:443, whose host is neither an address nor a name"),
        (
            'network = ["10.0.0.0/8:443"]',
            ("network has 10.0.0.0/8:443, whose host is neither an address nor a name"),
        ),
        ('network = ["::1:443"]', "network has an IPv6 address without brackets"),
        ('network = ["300.1.1.1:80"]', "network has 300.1.1.1:80, whose host is no address"),
        ('network = ["2130706433:80"]', "network has 2130706433:80, whose host is no address"),
        ('network = ["127.1.:80"]', "network has 127.1.:80, whose host is no address"),
        ('network = ["[a:1"]', "network has [a:1, whose host is neither an address nor a name"),
        ('network = ["b]:1"]', "network has b]:1, whose host is neither an address nor a name"),
        ('network = ["0x7f.1:80"]', "network has 0x7f.1:80, whose host is no address"),
        ('network = ["0.0.0.0:80"]', "network has 0.0.0.0:80, which is not one machine"),
        ('network = ["224.0.0.1:80"]', "network has 224.0.0.1:80, which is not one machine"),
        (
            'network = ["255.255.255.255:80"]',
            ("network has 255.255.255.255:80, which is not one machine"),
        ),
        (
            'network = ["169.254.169.254:80"]',
            (
                "network has 169.254.169.254:80: link-local addresses "
                "give out a cloud machine's secrets"
            ),
        ),
        (
            'network = ["168.63.129.16:80"]',
            "network has 168.63.129.16:80: that address gives out a cloud machine's secrets",
        ),
        (
            'network = ["[64:ff9b::7f00:1]:80"]',
            (
                "network has [64:ff9b::7f00:1]:80: its loopback is its own, "
                'and nobody else is there ("agent:")'
            ),
        ),
        (
            f"network = {[f'a{number}.org:1' for number in range(65)]}",
            "network has 65 entries, and 64 is the most",
        ),
        (
            'network = ["[fe80::1]:80"]',
            ("network has [fe80::1]:80: link-local addresses give out a cloud machine's secrets"),
        ),
        (
            'network = ["[::ffff:127.0.0.1]:80"]',
            ("network has [::ffff:127.0.0.1]:80: write an IPv4 address as such, and no interface"),
        ),
        (
            'network = ["[fe80::1%eth0]:80"]',
            ("network has [fe80::1%eth0]:80: write an IPv4 address as such, and no interface"),
        ),
        *(
            (
                f'network = ["{host}:80"]',
                (
                    f"network has {host}:80: its loopback is its own, and "
                    'nobody else is there ("agent:")'
                ),
            )
            for host in (
                "127.0.0.1",
                "127.1.2.3",
                "[::1]",
                "localhost",
                "LOCALHOST.",
                "a.localhost",
            )
        ),
        ('network = ["a.org:1", "A.ORG.:1"]', "network has a.org:1 twice"),
        ('network = ["[2001:db8:0::1]:1", "[2001:db8::1]:1"]', "network has [2001:db8::1]:1 twice"),
        (
            'network = ["agent:"]',
            ("network has 'agent:': an agent's name is lower-case letters, digits, -"),
        ),
        (
            'network = ["agent:Speech"]',
            ("network has 'agent:Speech': an agent's name is lower-case letters, digits, -"),
        ),
        ('network = ["agent:a"]', "network has a itself"),
        ('system_calls = ["everything"]', "system_calls is one of " + ", ".join(sandbox.CLASSES)),
        ('system_calls = ["internet"]', "system_calls is one of " + ", ".join(sandbox.CLASSES)),
        ('system_calls = ["ipc", "ipc"]', "system_calls has ipc twice"),
        (
            'capabilities = ["CAP_CHOWN"]',
            (
                "unknown key capabilities (known: certificate, execute, "
                "execute_written, network, read, system_calls, write)"
            ),
        ),
        (
            "execute_written = true",
            ("execute_written has no effect: nothing of execute may be written"),
        ),
        *(
            (f'{key} = ["/dev/fuse"]', f"{key} has /dev/fuse: devices follow from [gpu]")
            for key in ("read", "write", "execute")
        ),
        ('read = ["/proc/1/mem"]', "read has /proc/1/mem: it has a /proc of its own"),
        ('write = ["/tmp/x"]', "write has /tmp/x: it has a /tmp of its own, to read and to write"),
        ('write = ["/run/ainit/control"]', "write has /run/ainit/control: that is PID 1's"),
        ('read = ["/run"]', "read has /run: holds /run/ainit: that is PID 1's"),
        (
            'read = ["/var/lib/ainos/remote/channel.pem"]',
            ("read has /var/lib/ainos/remote/channel.pem: that is the machine's"),
        ),
        ('write = ["/var"]', "write has /var: holds /var/lib/ainos/config: that is the machine's"),
        (
            'write = ["/var/lib/ainos/sandbox"]',
            "write has /var/lib/ainos/sandbox: that is the machine's",
        ),
        (
            'write = ["/usr/lib/x"]',
            ("write has /usr/lib/x: that is the verified root, which nobody writes"),
        ),
        *(
            (
                f'write = ["{path}/x"]',
                f"write has {path}/x: that is the verified root, which nobody writes",
            )
            for path in ("/bin", "/sbin", "/lib", "/lib64")
        ),
        ('write = ["/boot"]', "write has /boot: that is the machine's"),
        (
            'read = ["/run/credentials/a"]',
            ("read has /run/credentials/a: those are [agent] credentials"),
        ),
        *(
            (
                f'{key} = ["/var/lib/ainos/{name}"]',
                f"{key} has /var/lib/ainos/{name}: that is the machine's",
            )
            for key in ("read", "write", "execute")
            for name in ("config", "models", "timers", "keylime", "remote", "seal", "identity")
        ),
        ('read = ["/run/identity"]', "read has /run/identity: that is [sandbox] certificate"),
        ('read = ["/usr/bin/python3"]', "read has /usr/bin/python3: every agent may execute it"),
        (
            'read = ["/sys/devices/system/cpu/online"]',
            ("read has /sys/devices/system/cpu/online: every agent may read it"),
        ),
        ('write = ["/etc"]', "write has /etc: that is the verified root, which nobody writes"),
        ('write = ["/sys/fs/cgroup"]', "write has /sys/fs/cgroup: that is the kernel's"),
        ('read = ["/usr/share/zoneinfo"]', "read has /usr/share/zoneinfo: every agent may read it"),
        (
            'execute = ["/usr/bin/python3"]',
            ("execute has /usr/bin/python3: every agent may execute it"),
        ),
        ('read = ["/srv", "/srv/a"]', "read has /srv/a: its entry /srv covers it"),
    ],
)
def test_what_is_wrong_is_said_at_its_line(line: str, message: str) -> None:
    assert findings("# one\n" + line) == [f"12: {message}"]


def test_one_list_against_another() -> None:
    lines = (
        'read = ["/srv/a/b", "/opt/run"]\nwrite = ["/srv/a"]\nexecute = ["/opt/run", "/srv/a/x"]'
    )
    assert findings(lines) == [
        "11: read has /srv/a/b: write has it already",
        "11: read has /opt/run: execute has it already",
        (
            "13: execute has /srv/a/x, and it may write /srv/a: execute_written = true says that "
            "this is meant"
        ),
    ]


@pytest.mark.parametrize("name", sandbox_config.UNDOING)
def test_capabilities_that_undo_the_sandbox_are_refused(name: str) -> None:
    assert name in CAPABILITIES
    expected = f"3: {name} would undo the agent's sandbox"
    assert findings("", f'capabilities = ["{name}"]\n') == [expected]


def test_who_calls_others_is_one_user() -> None:
    lines, main = 'network = ["agent:b"]', 'capabilities = ["CAP_SETUID"]\n'
    expected = "CAP_SETUID makes it another user, by which others know who calls them"
    assert findings(lines, main) == [f"3: {expected}"]
    assert findings('network = "none"', main) == []


def test_nothing_follows_from_a_list_that_is_wrong_already() -> None:
    lines = 'write = ["srv"]\nexecute_written = true\nexecute = ["/srv"]'
    assert findings(lines)[0] == "11: write is an absolute path, without . and .. in it"


def test_a_sandbox_is_of_agents_that_have_a_process() -> None:
    service = config.unit('[service]\nexec = ["/bin/a"]\n[sandbox]\n', "a.toml", "a")[1]
    assert [one.message.split(" (")[0] for one in service] == ["unknown table [sandbox]"]
    target = config.agent('[agent]\ntype = "target"\n[sandbox]\n', "a.toml", "a", "")[1]
    assert [str(one) for one in target] == ["a.toml:3: [sandbox] means nothing for a target"]


def test_an_agent_that_is_not_there_is_warned_of() -> None:
    unit = Unit("a", AGENT)
    unit.sandbox = {"network": ["agent:b", "agent:c"]}
    found = relations.warnings([(unit, "a.toml")], {"a", "b"}, lambda file, table, key: 7)
    assert [str(one) for one in found] == [
        "a.toml:7: network names the agent c, which is no unit here"
    ]


def test_what_is_called_is_an_agent() -> None:
    caller, service = Unit("a", AGENT), Unit("b", SERVICE)
    caller.sandbox = {"network": ["agent:b"]}
    found = relations.findings(
        [(caller, "a.toml"), (service, "b.toml")], lambda file, table, key: 7
    )
    assert [str(one) for one in found] == [
        "a.toml:7: network names b, which is a service and no agent"
    ]


# What fuzzing puts together: right and wrong values of every kind.
WORDS = st.sampled_from(
    (
        "/srv", "/srv/a", "/srv/a/b", "/usr/bin/git", "/dev/null", "..", "/a/../b", "", "/", "none",
        "loopback", "192.0.2.7:443", "[::1]:1", "127.0.0.1:1", "example.org:0", "agent:b", "agent:",
        "processes", "jit", "internet", "\0", "é", "a:1",
    )
)  # fmt: skip
VALUES = st.one_of(WORDS, st.text(max_size=8), st.booleans(), st.integers(), st.floats())
ENTRIES = VALUES | st.lists(VALUES, max_size=4)
TABLES = st.dictionaries(st.sampled_from([*sandbox_config.KEYS, "unknown"]), ENTRIES, max_size=7)


def toml(value: object) -> str:
    """A value as TOML; a list as one."""
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(letter):08x}" for letter in value) + '"'
    if isinstance(value, float):
        return repr(value)
    return str(value).lower()


@given(TABLES)
def test_any_table_is_findings_or_a_profile_that_works(table: dict[str, object]) -> None:
    text = HEAD + "[sandbox]\n" + "".join(f"{key} = {toml(one)}\n" for key, one in table.items())
    unit, found = config.agent(text, "a.toml", "a", "")
    lines = text.count("\n") + 1
    assert all(one.file == "a.toml" and 1 <= one.line <= lines for one in found)
    if found:
        return
    record = loads(dumps(unit.to_record()))
    assert isinstance(record, dict)
    profile, again = sandbox.of(unit), sandbox.of(Unit.from_record(record))
    assert profile is not None
    assert again is not None
    assert [getattr(profile, name) for name in Profile.__slots__] == [
        getattr(again, name) for name in Profile.__slots__
    ]
    load(seccomp.program(profile.calls, X86_64))
    assert sandbox_words.difference(unit, Unit.from_record(record)) == []
    assert not set(profile.write) & set(profile.execute) or profile.execute_written


@given(st.sampled_from(list(sandbox_config.KEYS)), ENTRIES)
def test_a_check_gives_a_value_or_says_what_is_wrong(key: str, value: object) -> None:
    check = sandbox_config.KEYS[key]
    message = ""
    try:
        assert check(check(value)) == check(value)
    except ValueError as error:
        message = str(error)
    assert not message or message.startswith(("is ", "has "))


def test_every_key_is_documented_once_with_a_default_and_an_example() -> None:
    rows = [found.groups() for found in ROW.finditer(TEXT)]
    assert sorted(row[0] for row in rows) == sorted(sandbox_config.KEYS)
    for key, _, default, _, example in rows:
        ((name, value),) = tomllib.loads(example).items()
        assert name == key
        sandbox_config.KEYS[key](value)
        stated = tomllib.loads(f"x = {default.strip().strip('`')}")["x"] if default.strip() else []
        sandbox_config.KEYS[key](stated)
        assert stated in ([], False, getattr(Profile({}), key))


def test_every_class_and_default_is_documented() -> None:
    classes = re.findall(r"^\| `([a-z]+)` \| [^|]* \|$", TEXT, re.MULTILINE)
    assert sorted(classes) == sorted((*sandbox.CLASSES, *sandbox.IMPLIED))
    for path in (*sandbox.ROOT_READ, *sandbox.ROOT_EXECUTE, *sandbox.KERNEL_READ):
        assert f"`{path}`" in TEXT


def test_examples_are_right() -> None:
    examples = re.findall(r"^```toml\n((?:(?!```).*\n)*)```", TEXT, re.MULTILINE)
    assert examples
    for text in examples:
        whole = text if "[agent]" in text else HEAD + text
        assert config.agent(whole, "sandbox.md", "notes", "")[1] == []
