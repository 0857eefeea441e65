"""Every wrong key, type and value is a finding with file and line; all of them come at once."""

from __future__ import annotations

import pytest

from ainit.policy import config, plan

HEAD = '[service]\nexec = ["/bin/a"]\n'


def of_unit(text: str, name: str = "a") -> list[str]:
    return [str(finding) for finding in config.unit(text, "a.toml", name)[1]]


def of_agent(text: str) -> list[str]:
    return [str(finding) for finding in config.agent(text, "m.toml", "a", "/b")[1]]


FULL = """\
[service]
description = "all keys"
configured_by = "remote"
exec = ["/bin/a", "-x"]
type = "notify"
stage = "early"
after = ["b"]
before = ["z"]
requires = ["c"]
wants = ["d"]
bound_to = ["e"]
conflicts = ["f"]
provides = ["org.ainos.X"]
environment = { A = "b" }
models = ["m"]
optional_models = ["o"]
extensions = ["e"]
optional_extensions = ["f"]
essential = false
rescue = true
survives = true
stops_last = true
autostart = false
restart = "on-failure"
success_status = [0, 3]
start_timeout_s = 3
stop_timeout_s = 0.5
stop_signal = "INT"
reload_signal = "HUP"
notify_access = "all"
fd_store_max = 8
directory = "/var/empty"
user = "weather"
group = "sky"
groups = ["video", 44]
umask = "077"
capabilities = ["CAP_NET_ADMIN"]
credentials = { token = "/etc/token" }
limits = { nofile = 4096, core = "infinity", as = "1G" }
oom_score = -500
nice = 5
watchdog_s = 20

[backoff]
first_s = 0.1
factor = 3
max_s = 9
limit = 0
jitter = 0.5
exhausted = "fallback"

[probe]
varlink = "org.ainos.X"
interval_s = 2
timeout_s = 1
failures = 5

[timer]
calendar = "Mon 03:00"
boot_s = 60
every_s = 3600
jitter_s = 5
persistent = true

[activation]
on_demand = true

[[socket]]
listen = "unix:/run/a"
mode = "0600"
name = "front"
backlog = 16

[[socket]]
listen = "udp:[::1]:53"

[[path]]
not_empty = "/var/spool/a"

[[device]]
SUBSYSTEM = "tty"
ID_BUS = "usb"

[resources]
memory_min = "1M"
memory_low = "2M"
memory_high = "256M"
memory_max = "512M"
memory_swap_max = "0"
cpu_weight = 200
cpu_max = "150%"
cpus = "0-3,8"
memory_nodes = "0"
io_weight = 50
io_max = { "8:0" = { read_bps = "10M", write_iops = 100 } }
pids_max = 64
memory_pressure = "12.5%"
memory_pressure_action = "restart"

[logs]
ring = "256K"
persistent = false
"""
FIELDS: dict[str, object] = {
    "description": "all keys",
    "configured_by": "remote",
    "exec": ["/bin/a", "-x"],
    "type": "notify",
    "stage": "early",
    "after": ["b"],
    "before": ["z"],
    "requires": ["c"],
    "wants": ["d"],
    "bound_to": ["e"],
    "conflicts": ["f"],
    "provides": ["org.ainos.X"],
    "environment": {"A": "b"},
    "models": ["m"],
    "optional_models": ["o"],
    "extensions": ["e"],
    "optional_extensions": ["f"],
    "essential": False,
    "rescue": True,
    "survives": True,
    "stops_last": True,
    "autostart": False,
    "restart": "on-failure",
    "success_status": [0, 3],
    "start_timeout": 3.0,
    "stop_timeout": 0.5,
    "stop_signal": 2,
    "reload_signal": 1,
    "notify_access": "all",
    "fd_store_max": 8,
    "directory": "/var/empty",
    "user_name": "weather",
    "group": "sky",
    "groups": ["video", "44"],
    "umask": 0o077,
    "capabilities": ["CAP_NET_ADMIN"],
    "credentials": {"token": "/etc/token"},
    "limits": {"nofile": 4096, "core": -1, "as": 1 << 30},
    "oom_score": -500,
    "nice": 5,
    "watchdog": 20.0,
    "backoff_first": 0.1,
    "backoff_factor": 3.0,
    "backoff_max": 9.0,
    "backoff_limit": 0,
    "backoff_jitter": 0.5,
    "exhausted": "fallback",
    "probe_varlink": "org.ainos.X",
    "probe_interval": 2.0,
    "probe_timeout": 1.0,
    "probe_failures": 5,
    "timer_calendar": [{"weekday": [0], "hour": [3], "minute": [0], "second": [0]}],
    "timer_boot": 60.0,
    "timer_every": 3600.0,
    "timer_jitter": 5.0,
    "timer_persistent": True,
    "on_demand": True,
    "sockets": [
        {"listen": "unix:/run/a", "mode": 0o600, "name": "front", "backlog": 16},
        {"listen": "udp:[::1]:53", "name": "a", "backlog": 0},
    ],
    "paths": [{"not-empty": "/var/spool/a"}],
    "devices": [{"SUBSYSTEM": "tty", "ID_BUS": "usb"}],
    "memory_min": 1 << 20,
    "memory_low": 2 << 20,
    "memory_high": 256 << 20,
    "memory_max": 512 << 20,
    "memory_swap_max": 0,
    "cpu_weight": 200,
    "cpu_max": 150,
    "cpus": "0-3,8",
    "memory_nodes": "0",
    "io_weight": 50,
    "io_max": {"8:0": {"rbps": 10 << 20, "wiops": 100}},
    "pids_max": 64,
    "memory_pressure": 12.5,
    "memory_pressure_action": "restart",
    "log_ring": 256 << 10,
    "log_persistent": False,
}
# What the unit above cannot say, because it says something else.
ELSEWHERE = {"user", "probe_exec", "probe_connect", "probe_readiness", "measurement", "bundle"}
OF_AGENTS = {
    "gpu_profile", "gpu_profiles", "gpu_speeds", "gpu_required", "gpu_priority", "gpu_resizable",
    "gpu_numa", "sandbox",
}  # fmt: skip
OF_JOBS = {"gpu_estimate", "gpu_deadline", "gpu_owner", "sandboxed"}


def test_every_key_of_a_unit_arrives() -> None:
    unit, findings = config.unit(FULL, "a.toml", "a")
    assert findings == []
    assert {field: getattr(unit, field) for field in FIELDS} == FIELDS
    assert plan.FIELDS - FIELDS.keys() == ELSEWHERE | OF_AGENTS | OF_JOBS
    assert (unit.name, unit.kind, unit.user) == ("a", plan.SERVICE, 0)
    assert unit.measurement == plan.OPTIONAL


@pytest.mark.parametrize(
    ("lines", "field", "value"),
    [
        ("user = 0", "user", 0),
        ("user = 1000", "user", 1000),
        ('[probe]\nexec = ["/bin/b", "c"]', "probe_exec", ["/bin/b", "c"]),
        ('[probe]\nconnect = "tcp:127.0.0.1:80"', "probe_connect", "tcp:127.0.0.1:80"),
        ('[probe]\nconnect = "unix:/run/x"\nreadiness = true', "probe_readiness", True),
    ],
)
def test_the_other_keys_arrive_too(lines: str, field: str, value: object) -> None:
    unit, findings = config.unit(f"{HEAD}{lines}\n", "a.toml", "a")
    assert (findings, getattr(unit, field), unit.user_name) == ([], value, "")


def test_a_target_needs_no_program() -> None:
    text = """\
[service]
type = "target"
wants = ["b"]
[timer]
calendar = ["daily", "Mon 12:00"]
"""
    unit, findings = config.unit(text, "a.toml", "a")
    assert (findings, unit.type, unit.exec, unit.is_triggered) == ([], plan.TARGET, (), True)


def test_an_agent_must_be_measured_unless_it_says_otherwise() -> None:
    text = '[agent]\nexec = ["main.py"]\n[gpu]\nprofile = "1g.10gb+me"\n'
    unit, findings = config.agent(text, "m.toml", "a", "/bundle")
    assert findings == []
    assert (unit.kind, unit.measurement, unit.bundle) == (plan.AGENT, plan.REQUIRED, "/bundle")
    assert unit.gpu_profile == "1g.10gb+me"
    assert unit.gpu_required
    optional = text.replace("[gpu]", 'measurement = "optional"\n[gpu]')
    assert config.agent(optional, "m.toml", "a", "/b")[0].measurement == plan.OPTIONAL


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("unknown = 1", "unknown key unknown (known: after, autostart, "),
        ("description = 3", "description is a string"),
        ('description = "\\u0000"', "description is a string"),
        ('type = "dbus"', "type is one of simple, notify, forking, oneshot, target"),
        ("type = []", "type is one of"),
        ('stage = "late"', "stage is one of early, main, healthy"),
        ('after = "b"', "after is a list"),
        ('after = ["B"]', "after is a name of lower-case"),
        ("requires = [3]", "requires is a name"),
        ('wants = ["a_b"]', "wants is a name"),
        ('provides = ["X"]', "provides is an interface such as"),
        ("environment = { A = 1 }", "environment is a table of which each value is a string"),
        ('environment = { "A-B" = "x" }', "environment is a table whose keys are variable names"),
        ("environment = []", "environment is a table whose keys are variable names"),
        ('before = ["b", "b"]', "before has b twice"),
        ('bound_to = ["B"]', "bound_to is a name of lower-case"),
        ("conflicts = [1]", "conflicts is a name of lower-case"),
        ("survives = 1", "survives is true or false"),
        ('autostart = "no"', "autostart is true or false"),
        ("success_status = [256]", "success_status is a whole number from 0 to 255"),
        ('stop_signal = "SIGTERM"', "stop_signal is the name of a signal, without SIG, such as"),
        ("stop_signal = 15", "stop_signal is the name of a signal"),
        ('reload_signal = "HUPP"', "reload_signal is the name of a signal"),
        ('directory = "var"', "directory is an absolute path"),
        ("user = -1", "user is a name or a number"),
        ('user = "Weather"', "user is a name or a number"),
        ("group = true", "group is a name or a number"),
        ("groups = [4294967295]", "groups is a name or a number"),
        ("groups = [44, 44]", "groups has 44 twice"),
        ("umask = 22", "umask is a string of octal digits"),
        ('umask = "8"', "umask is a string of octal digits"),
        ('capabilities = ["NET_ADMIN"]', "capabilities is a capability such as CAP_NET_ADMIN"),
        ("capabilities = [1]", "capabilities is a capability such as"),
        ('credentials = { "a/b" = "/x" }', "credentials is a table whose keys are file names"),
        ('credentials = { a = "x" }', "credentials is a table of which each value is an absolute"),
        ("oom_score = 1001", "oom_score is a whole number from -1000 to 1000"),
        ("nice = -21", "nice is a whole number from -20 to 19"),
        ("watchdog_s = 0", "watchdog_s is a number from 0.1"),
        ("fd_store_max = -1", "fd_store_max is a whole number from 0 to 1024"),
        ('notify_access = "exec"', "notify_access is one of main, all, none"),
        ('models = ["../x"]', "models is a name"),
        ('models = ["x\\n"]', "models is a name"),
        ("essential = 1", "essential is true or false"),
        ('rescue = "yes"', "rescue is true or false"),
        ('restart = "sometimes"', "restart is one of always, on-failure, never"),
        ("start_timeout_s = 0", "start_timeout_s is a number from 0.1 to 3600"),
        ("start_timeout_s = nan", "start_timeout_s is a number"),
        ("stop_timeout_s = inf", "stop_timeout_s is a number"),
        ("stop_timeout_s = true", "stop_timeout_s is a number"),
        ('stop_timeout_s = "3"', "stop_timeout_s is a number"),
    ],
)
def test_wrong_key_of_a_service(line: str, message: str) -> None:
    (finding,) = of_unit(f"{HEAD}# a comment\n{line}\n")
    assert finding.startswith(f"a.toml:4: {message}")


@pytest.mark.parametrize(
    ("table", "line", "message"),
    [
        ("backoff", "first_s = -1", "first_s is a number from 0 to 3600"),
        ("backoff", "factor = 0.5", "factor is a number from 1 to 10"),
        ("backoff", 'max_s = "x"', "max_s is a number"),
        ("backoff", "limit = -1", "limit is a whole number from 0 to"),
        ("backoff", "limit = 1.5", "limit is a whole number"),
        ("backoff", "limit = true", "limit is a whole number"),
        (
            "backoff",
            "jitters = 1",
            "unknown key jitters (known: exhausted, factor, first_s, jitter, limit, max_s)",
        ),
        ("backoff", "jitter = 1.5", "jitter is a number from 0 to 1"),
        ("backoff", 'exhausted = "panic"', "exhausted is one of hold, reboot, fallback"),
        ("probe", "exec = []", "exec is a list that is not empty"),
        ("probe", 'connect = "udp:1.2.3.4:5"', "connect has 'udp': an address begins with one of"),
        ("probe", 'varlink = "X"', "varlink is an interface such as"),
        ("timer", 'calendar = "noon"', "calendar 'noon' has 'noon', which is neither"),
        ("timer", "boot_s = 0", "boot_s is a number from 0.001"),
        ("logs", 'ring = "1K"', "ring is a size such as"),
        ("logs", "persistent = 1", "persistent is true or false"),
        ("resources", "memory_max = 512", 'memory_max is a size such as "512M"'),
        ("resources", 'memory_max = "0"', "memory_max is a size"),
        ("resources", 'memory_max = "999999999T"', "memory_max is a size"),
        ("resources", "cpu_max = 0", 'cpu_max is from "1%" to'),
        ("resources", 'cpu_max = "1.5%"', "cpu_max is a whole number of per cent"),
        ("resources", 'cpus = "3-1"', "cpus has 3-1: ranges run upwards, and the highest is 8191"),
        ("resources", 'memory_nodes = "0,"', 'memory_nodes is a list such as "0-3,8"'),
        ("resources", 'memory_pressure = "101%"', 'memory_pressure is from "0.1%" to "100%"'),
        ("resources", 'memory_pressure_action = "x"', "memory_pressure_action is one of log, "),
        ("resources", 'memory_max = "512m"', "memory_max is a size"),
        ("resources", 'memory_max = "-1"', "memory_max is a size"),
        ("resources", "pids_max = 0", "pids_max is a whole number from 1"),
        ("resources", "cpu_weight = 10001", "cpu_weight is a whole number from 1 to 10000"),
        ("gpu", 'profile = "1g.10gb"', ""),
    ],
)
def test_wrong_key_of_another_table(table: str, line: str, message: str) -> None:
    (finding,) = of_unit(f"{HEAD}\n[{table}]\n{line}\n")
    if table == "gpu":  # of agents only
        assert finding.startswith("a.toml:4: unknown table [gpu] (known: activation, backoff, ")
    else:
        assert finding.startswith(f"a.toml:5: {message}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "a.toml:1: the table [service] is missing"),
        ("\n[service]\n", "a.toml:2: exec is missing"),
        ('\n[service]\ntype = "simple"\n', "a.toml:2: exec is missing"),
        ("[service]\n\nexec = []\n", "a.toml:3: exec is a list that is not empty"),
        ('[service]\nexec = ["a"]\n', "a.toml:2: exec starts with an absolute path"),
        ("[service]\nexec = [1]\n", "a.toml:2: exec is a string"),
        ("[service\n", "a.toml:1: not TOML: "),
    ],
)
def test_without_a_program_there_is_no_unit(text: str, expected: str) -> None:
    (finding,) = of_unit(text)
    assert finding.startswith(expected)


@pytest.mark.parametrize("name", ["", "A", "1a", "a_b", "a" * 33, "../a", "a\n"])
def test_a_unit_with_a_bad_name(name: str) -> None:
    (finding,) = of_unit(HEAD, name)
    assert finding == f"a.toml:1: {name!r} is no name: lower-case letters, digits, -"


@pytest.mark.parametrize(
    "key", ['stage = "early"', "rescue = true", "survives = true", "user = 0", 'group = "x"']
)
def test_an_agent_has_no_stage_and_a_user_of_its_own(key: str) -> None:
    (finding,) = of_agent(f'[agent]\nexec = ["a"]\n{key}\n')
    assert finding.startswith(f"m.toml:3: unknown key {key.split(maxsplit=1)[0]}")


@pytest.mark.parametrize("profile", ["1g", "1g.10gb ", "g.10gb", "1g.10gb+gfx", "1g.10gb\\n"])
def test_a_profile_that_is_none(profile: str) -> None:
    (finding,) = of_agent(f'[agent]\nexec = ["a"]\n[gpu]\nprofile = "{profile}"\n')
    assert finding == 'm.toml:4: profile is a MIG profile such as "1g.10gb"'


def test_an_agent_that_takes_several_profiles() -> None:
    text = """\
[agent]
exec = ["main.py"]
[gpu]
profiles = ["2g.20gb", "1g.10gb"]
speeds = { "2g.20gb" = 0.5, "1g.10gb" = 0.3 }
priority = -5
resizable = true
numa = "none"
"""
    unit, findings = config.agent(text, "m.toml", "a", "/bundle")
    assert findings == []
    assert (unit.gpu_profile, unit.gpu_profiles) == ("2g.20gb", ["2g.20gb", "1g.10gb"])
    assert unit.gpu_speeds == {"2g.20gb": 0.5, "1g.10gb": 0.3}
    assert (unit.gpu_priority, unit.gpu_resizable, unit.gpu_numa) == (-5, True, "none")


@pytest.mark.parametrize(
    ("lines", "finding"),
    [
        ("required = false", "m.toml:3: profile or profiles is missing"),
        (
            'profile = "1g.10gb"\nprofiles = ["2g.20gb"]',
            "m.toml:5: an agent has either a profile or profiles",
        ),
        ("profiles = []", "m.toml:3: profile or profiles is missing"),
        ('profiles = ["1g.10gb", "1g.10gb"]', "m.toml:4: profiles has 1g.10gb twice"),
        (
            'profile = "1g.10gb"\nspeeds = { "2g.20gb" = 0.5 }',
            "m.toml:5: speeds names 2g.20gb, which is none of its profiles",
        ),
        ('profile = "1g.10gb"\nnuma = "near"', "m.toml:5: numa is one of gpu, none"),
        ('profile = "1g.10gb"\npriority = 101', "m.toml:5: priority is a whole number from -100"),
    ],
)
def test_what_is_wrong_with_a_wish_for_a_gpu(lines: str, finding: str) -> None:
    found = of_agent(f'[agent]\nexec = ["a"]\n[gpu]\n{lines}\n')
    assert found[0].startswith(finding), found


def test_all_findings_come_at_once() -> None:
    text = """\
backoff = 3
[service]
exec = "a"
type = "x"
colour = "red"
[resources]
pids_max = 0
[other]
[more.tables]
"""
    assert [finding.partition(" (")[0] for finding in of_unit(text)] == [
        "a.toml:8: unknown table [other]",
        "a.toml:9: unknown table [more]",
        "a.toml:3: exec is a list that is not empty",
        "a.toml:4: type is one of simple, notify, forking, oneshot, target",
        "a.toml:5: unknown key colour",
        "a.toml:1: backoff is a table",
        "a.toml:7: pids_max is a whole number from 1 to 4194304",
    ]


def test_keys_that_contradict_each_other_are_found_beside_wrong_values() -> None:
    text = """\
[service]
exec = ["/bin/a"]
colour = "red"
watchdog_s = 5
[timer]
persistent = true
"""
    assert [finding.partition(" (")[0] for finding in of_unit(text)] == [
        "a.toml:3: unknown key colour",
        'a.toml:4: watchdog_s is of units of type "notify"',
        "a.toml:5: a timer has at least one of calendar, boot_s, every_s",
    ]


def test_nothing_is_concluded_from_a_wrong_value() -> None:
    text = """\
[service]
exec = [1]
type = "notifying"
watchdog_s = 5
provides = "org.ainos.X"
[probe]
varlink = "org.ainos.X"
readiness = true
"""
    assert [finding.partition(":")[2][:9] for finding in of_unit(text)] == [
        "2: exec i", "3: type i", "5: provid",
    ]  # fmt: skip
