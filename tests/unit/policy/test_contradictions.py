"""Keys that are right alone and wrong together are found, at the line of one of them."""

from __future__ import annotations

import pytest

from ainit.policy import config

HEAD = '[service]\nexec = ["/bin/a"]\n'  # the lines below begin in line 3


def of(text: str) -> list[str]:
    return [str(finding).removeprefix("a.toml:") for finding in config.unit(text, "a.toml", "a")[1]]


@pytest.mark.parametrize(
    ("lines", "finding"),
    [
        ("watchdog_s = 5", '3: watchdog_s is of units of type "notify"'),
        ('type = "forking"\nwatchdog_s = 5', '4: watchdog_s is of units of type "notify"'),
        ('notify_access = "all"', '3: notify_access is of units of type "notify"'),
        ("fd_store_max = 1", '3: fd_store_max is of units of type "notify"'),
        (
            'type = "notify"\nnotify_access = "none"',
            '4: notify_access is not "none" where the unit says that it is ready',
        ),
        (
            'type = "oneshot"\nsurvives = true',
            "4: survives is of units that keep running, not of a oneshot",
        ),
        (
            'type = "oneshot"\nreload_signal = "HUP"',
            "4: reload_signal is of units that keep running, not of a oneshot",
        ),
        (
            'type = "oneshot"\n[probe]\nconnect = "unix:/x"\nreadiness = true',
            "4: a oneshot ends, so there is nothing to probe",
        ),
        ('conflicts = ["b", "a"]', "3: a conflicts with itself"),
        ('requires = ["b"]\nconflicts = ["b"]', "4: b is both needed and in conflict"),
        ('wants = ["b"]\nconflicts = ["b"]', "4: b is both needed and in conflict"),
        ('bound_to = ["b"]\nconflicts = ["b"]', "4: b is both needed and in conflict"),
        ("[probe]\ninterval_s = 5", "3: a probe is one of exec, connect, varlink"),
        (
            '[probe]\nexec = ["/a"]\nconnect = "unix:/x"',
            "5: a probe is one of exec, connect, varlink",
        ),
        ('[probe]\nexec = ["a"]', "4: exec starts with an absolute path"),
        (
            'type = "notify"\n[probe]\nexec = ["/a"]\nreadiness = true',
            '6: readiness is of units of type "simple"',
        ),
        ('[probe]\nvarlink = "org.x.Y"', "4: org.x.Y is not among what the unit provides"),
        ("[timer]\njitter_s = 5", "3: a timer has at least one of calendar, boot_s, every_s"),
        (
            "[timer]\nboot_s = 5\npersistent = true",
            "5: persistent is of timers with a calendar",
        ),
        ("[activation]\non_demand = true", "4: on_demand needs a [[socket]], or provides"),
        ("[backoff]\nfirst_s = 60", "4: first_s, 60, is more than max_s, 30"),
        ("[backoff]\nmax_s = 0.1", "4: first_s, 0.5, is more than max_s, 0.1"),
        (
            '[resources]\nmemory_max = "1M"\nmemory_low = "2M"',
            "5: memory_low is more than memory_max",
        ),
        (
            '[resources]\nmemory_min = "2M"\nmemory_high = "1M"\nmemory_max = "3M"',
            "4: memory_min is more than memory_high",
        ),
        (
            '[resources]\nmemory_pressure_action = "kill"',
            "4: memory_pressure_action needs a memory_pressure",
        ),
    ],
)
def test_a_contradiction(lines: str, finding: str) -> None:
    assert of(f"{HEAD}{lines}\n") == [finding]


@pytest.mark.parametrize(
    "lines",
    [
        'type = "notify"\nwatchdog_s = 5\nnotify_access = "main"\nfd_store_max = 3',
        'type = "oneshot"\nsurvives = false',
        'requires = ["b"]\nconflicts = ["c"]',
        '[probe]\nexec = ["/a"]\nreadiness = true',
        'provides = ["org.x.Y"]\n[probe]\nvarlink = "org.x.Y"',
        "[timer]\nevery_s = 5\npersistent = false",
        "[activation]\non_demand = false",
        'provides = ["org.x.Y"]\n[activation]\non_demand = true',
        "[backoff]\nfirst_s = 30",
        '[resources]\nmemory_low = "1M"\nmemory_max = "1M"',
        '[resources]\nmemory_pressure = "5%"\nmemory_pressure_action = "kill"',
        "autostart = true\n[timer]\nboot_s = 5",
    ],
)
def test_no_contradiction(lines: str) -> None:
    assert of(f"{HEAD}{lines}\n") == []


def test_a_target_has_no_process() -> None:
    text = """\
[service]
type = "target"
exec = ["/bin/a"]
restart = "never"
requires = ["b"]
[resources]
pids_max = 5
[[socket]]
listen = "unix:/run/a"
[probe]
exec = ["/bin/a"]
[timer]
boot_s = 5
"""
    assert sorted(of(text)) == [
        "10: [probe] means nothing for a target",
        "3: exec means nothing for a target, which has no process",
        "4: restart means nothing for a target, which has no process",
        "6: [resources] means nothing for a target",
        "8: [[socket]] means nothing for a target",
    ]


@pytest.mark.parametrize("kind", ["service", "agent"])
def test_a_target_is_a_name_for_others_and_may_be_triggered(kind: str) -> None:
    lines = [
        *('type = "target"', 'description = "All of it"', "essential = false", "autostart = true"),
        *('requires = ["b"]', 'wants = ["c"]', 'bound_to = ["d"]', 'conflicts = ["e"]'),
        *('after = ["f"]', 'before = ["g"]'),
    ]
    if kind == "service":
        lines += ['stage = "early"', "rescue = true"]
    triggers = '[timer]\nboot_s = 5\n[[path]]\nexists = "/x"\n[[device]]\nSUBSYSTEM = "tty"\n'
    text = "\n".join((f"[{kind}]", *lines, triggers))
    read = (
        config.unit(text, "a.toml", "a") if kind == "service" else config.agent(text, "", "a", "")
    )
    assert read[1] == []


def test_a_probe_of_a_target_is_not_looked_into() -> None:
    text = '[service]\ntype = "target"\n[probe]\ninterval_s = 5\n'
    assert of(text) == ["3: [probe] means nothing for a target"]


def test_a_wrong_value_where_the_table_begins_hides_nothing_about_the_type() -> None:
    text = "service.nice = 'x'\nservice.exec = ['/a']\nservice.watchdog_s = 5\n"
    assert of(text) == [
        "1: nice is a whole number from -20 to 19",
        '3: watchdog_s is of units of type "notify"',
    ]


def test_findings_come_in_the_order_of_the_file() -> None:
    text = '[service]\ntype = "target"\n' + "".join(
        f"{key} = 5\n" for key in ("stop_timeout_s", "start_timeout_s", "nice", "oom_score")
    )
    assert [finding.split(":")[0] for finding in of(text)] == ["3", "4", "5", "6"]


def test_programs_of_agents_lie_in_their_bundle() -> None:
    text = '[agent]\nexec = ["main"]\n[probe]\nexec = ["probe"]\n'
    assert config.agent(text, "m.toml", "a", "/b")[1] == []


@pytest.mark.parametrize(
    ("lines", "finding"),
    [
        ("timer = 1", "1: timer is a table"),
        ("resources = []", "1: resources is a table"),
    ],
)
def test_a_table_that_is_none_is_one_finding(lines: str, finding: str) -> None:
    assert of(f"{lines}\n{HEAD}watchdog_s = 5\n")[0] == finding
