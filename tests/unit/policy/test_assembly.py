"""What is wrong between files is found with file and line; what is right becomes a plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from ainit.child.compile import compile_plan
from ainit.errors import ConfigError
from ainit.policy.assembly import assemble, overlay
from ainit.policy.plan import AGENT, SETTINGS, Plan, Unit
from ainit.wire.codec import dumps, loads
from tests.support.units import make_unit


class Sources:
    """Unit files, agents and a machine configuration in a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "units").mkdir()
        (root / "agents").mkdir()
        self.machine = root / "machine.toml"
        self.machine.write_text("", encoding="utf-8")

    def unit(self, name: str, text: str = "") -> None:
        path = self.root / f"units/{name}.toml"
        path.write_text(f'[service]\nexec = ["/bin/{name}"]\n{text}\n', encoding="utf-8")

    def agent(self, name: str, text: str = "") -> None:
        path = self.root / f"agents/{name}/manifest.toml"
        path.parent.mkdir()
        path.write_text(f'[agent]\nexec = ["main"]\n{text}\n', encoding="utf-8")

    def compile(self) -> Plan:
        return compile_plan(self.machine, units=self.root / "units", agents=self.root / "agents")

    def findings(self) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            self.compile()
        return [str(item).removeprefix(f"{self.root}/") for item in caught.value.findings]


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return Sources(tmp_path)


def test_units_come_in_start_order(sources: Sources) -> None:
    sources.unit("a", 'requires = ["c"]')
    sources.unit("b")
    sources.unit("c", 'after = ["b", "not-there"]')
    sources.unit("d", 'wants = ["a", "not-there"]')
    assert [unit.name for unit in sources.compile().units] == ["b", "c", "a", "d"]


def test_an_unknown_requirement(sources: Sources) -> None:
    sources.unit("a", 'requires = ["nobody"]')
    assert sources.findings() == ["units/a.toml:3: a requires nobody, which is no unit"]


def test_a_disabled_unit_is_gone_and_missed(sources: Sources) -> None:
    sources.unit("a", '\nrequires = ["b"]')
    sources.unit("b")
    sources.machine.write_text('[units]\ndisabled = ["b"]\n', encoding="utf-8")
    assert sources.findings() == ["units/a.toml:4: a requires b, which is no unit"]


def test_disabling_what_is_no_unit(sources: Sources) -> None:
    sources.machine.write_text('\n[units]\n\ndisabled = ["nobody"]\n', encoding="utf-8")
    assert sources.findings() == ["machine.toml:4: disabled names no unit: nobody"]


def test_a_cycle_is_named_whole(sources: Sources) -> None:
    sources.unit("a", 'wants = ["d"]\nafter = ["b"]')
    sources.unit("b", 'requires = ["c"]')
    sources.unit("c", 'wants = ["a"]')
    sources.unit("d")
    assert sources.findings() == ["units/a.toml:4: dependency cycle: a → b → c → a"]


def test_a_unit_after_itself(sources: Sources) -> None:
    sources.unit("a", '\n\nafter = ["a"]')
    assert sources.findings() == ["units/a.toml:5: dependency cycle: a → a"]


def test_each_cycle_is_named_at_the_key_that_makes_it(sources: Sources) -> None:
    sources.unit("a", 'before = ["b"]')
    sources.unit("b", 'before = ["a"]')
    sources.unit("c", 'bound_to = ["d"]')
    sources.unit("d", 'before = ["x"]\nafter = ["c"]')
    assert sources.findings() == [
        "units/b.toml:3: dependency cycle: a → b → a",
        "units/c.toml:3: dependency cycle: c → d → c",
    ]


def test_before_orders_the_other_way_round(sources: Sources) -> None:
    sources.unit("a", 'after = ["b"]')
    sources.unit("b", 'bound_to = ["c"]')
    sources.unit("c")
    sources.unit("z", 'before = ["c", "not-there"]')
    assert [unit.name for unit in sources.compile().units] == ["z", "c", "b", "a"]


def test_bound_to_nobody(sources: Sources) -> None:
    sources.unit("a", 'bound_to = ["nobody"]\nconflicts = ["nothing"]')
    assert sources.findings() == ["units/a.toml:3: a is bound to nobody, which is no unit"]


def test_an_address_listened_on_for_two(sources: Sources) -> None:
    listen = '[[socket]]\nlisten = "unix:/run/x"'
    sources.unit("a", f'[[socket]]\nlisten = "unix:/run/a"\n{listen}')
    sources.unit("b", listen)
    assert sources.findings() == ["units/b.toml:3: unix:/run/x is also listened on for a"]


@pytest.mark.parametrize("key", ["after", "requires", "wants", "bound_to"])
def test_a_unit_after_one_of_a_later_stage(sources: Sources, key: str) -> None:
    sources.unit("a", f'stage = "early"\n{key} = ["b", "c"]')
    sources.unit("b", 'stage = "healthy"')
    sources.unit("c", 'stage = "early"')
    assert sources.findings() == [
        "units/a.toml:4: a of stage early is after b, which is of stage healthy"
    ]


def test_a_unit_before_one_of_an_earlier_stage(sources: Sources) -> None:
    sources.unit("a", 'stage = "early"')
    sources.unit("b", '\nbefore = ["a"]')
    assert sources.findings() == [
        "units/b.toml:4: a of stage early is after b, which is of stage main"
    ]


@pytest.mark.parametrize("key", ["requires", "bound_to"])
def test_a_survivor_needs_survivors(sources: Sources, key: str) -> None:
    sources.unit("a", f'survives = true\n{key} = ["b"]')
    sources.unit("b")
    assert sources.findings() == [
        "units/a.toml:4: a survives a soft reboot, but b, which it needs, not"
    ]
    sources.unit("b", "survives = true")
    assert len(sources.compile().units) == 2


def test_rivals_that_the_boot_starts_both(sources: Sources) -> None:
    sources.unit("a", 'conflicts = ["b", "c", "d", "e", "not-there"]')
    sources.unit("b", 'autostart = false\nwants = ["c"]')
    sources.unit("c", "[timer]\nboot_s = 5")
    sources.unit("d")
    sources.unit("e", "autostart = false")
    sources.unit("f", 'requires = ["e"]')
    assert sources.findings() == [
        "units/a.toml:3: a and d are in conflict, and the boot starts both",
        "units/a.toml:3: a and e are in conflict, and the boot starts both",
    ]


def test_a_name_used_twice(sources: Sources) -> None:
    sources.unit("a")
    sources.agent("a")
    assert sources.findings() == [
        f"agents/a/manifest.toml:1: a is also defined in {sources.root}/units/a.toml"
    ]


@pytest.mark.parametrize(
    ("interface", "other"),
    [
        ("org.ainos.X", "a"),
        ("org.ainos.Control", "PID 1"),
        ("org.varlink.service", "PID 1"),
    ],
)
def test_an_interface_provided_twice(sources: Sources, interface: str, other: str) -> None:
    sources.unit("a", 'provides = ["org.ainos.X"]')
    sources.unit("b", f'provides = ["{interface}"]')
    assert sources.findings() == [f"units/b.toml:3: {interface} is also provided by {other}"]


def test_findings_of_all_files_come_at_once(sources: Sources) -> None:
    sources.unit("a", "colour = 1")
    sources.agent("b", "colour = 2")
    sources.machine.write_text("colour = 3\n", encoding="utf-8")
    assert [finding.partition(" unknown")[0] for finding in sources.findings()] == [
        "units/a.toml:3:",
        "agents/b/manifest.toml:3:",
        "machine.toml:1:",
    ]


def test_a_file_that_is_no_text(sources: Sources) -> None:
    (sources.root / "units/a.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"units/a\.toml:1: cannot be read: "):
        sources.compile()


def test_each_agent_has_a_user_of_its_own(sources: Sources) -> None:
    for name in ("zeta", "alpha", "mid"):
        sources.agent(name)
    sources.unit("service")
    users = {unit.name: unit.user for unit in sources.compile().units}
    assert users == {"alpha": 61184, "mid": 61185, "zeta": 61186, "service": 0}


def test_a_user_that_is_taken_is_given_to_nobody_else() -> None:
    first, known = Unit("a", AGENT), Unit("b", AGENT)
    known.user = 61184
    users = {unit.name: unit.user for unit in assemble([(first, "a"), (known, "b")], {}).units}
    assert users == {"a": 61185, "b": 61184}


def test_disabling_an_agent_changes_no_user(sources: Sources) -> None:
    for name in ("alpha", "mid", "zeta"):
        sources.agent(name)
    image = sources.compile()
    assert {unit.name: unit.user for unit in image.units}["zeta"] == 61186
    base = sources.root / "plan.json"
    base.write_text(dumps(image.to_record()), encoding="ascii")
    sources.machine.write_text('[units]\ndisabled = ["mid"]\n', encoding="utf-8")
    for plan in (sources.compile(), compile_plan(sources.machine, base=base)):
        assert {unit.name: unit.user for unit in plan.units} == {"alpha": 61184, "zeta": 61186}


IDENTITY = 'provides = ["org.ainos.Identity"]\nconfigured_by = "identity"'


def test_who_has_a_certificate_comes_after_who_issues_it(sources: Sources) -> None:
    sources.unit("zidentity", IDENTITY)
    sources.agent("worker", "[sandbox]\ncertificate = true")
    sources.agent("idle")
    sources.machine.write_text('[machine]\nhostname = "Rack-7"\n', encoding="utf-8")
    units = {unit.name: unit for unit in sources.compile().units}
    assert [units[name].wants for name in ("worker", "idle")] == [["zidentity"], ()]
    assert [*units].index("zidentity") < [*units].index("worker")
    assert loads(units["zidentity"].environment[SETTINGS]) == {
        "trust_domain": "rack-7",
        "life_s": 600,
        "attest_interval_s": 3600,
        "verdict_required": False,
        "agents": {"worker": units["worker"].user},
    }
    assert units["worker"].user != 0


def test_certificates_are_issued_as_the_machine_says(sources: Sources) -> None:
    sources.unit("identity", IDENTITY)
    sources.agent("worker", "[sandbox]\ncertificate = true")
    image = sources.compile()
    base = sources.root / "plan.json"
    base.write_text(dumps(image.to_record()), encoding="ascii")
    text = '[identity]\ntrust_domain = "a.example"\nlife_s = 60\nverdict_required = true\n'
    sources.machine.write_text(text, encoding="utf-8")
    for plan in (sources.compile(), compile_plan(sources.machine, base=base)):
        (unit,) = [unit for unit in plan.units if unit.name == "identity"]
        found = loads(unit.environment[SETTINGS])
        assert isinstance(found, dict)
        assert (found["trust_domain"], found["life_s"]) == ("a.example", 60)
        assert (found["attest_interval_s"], found["verdict_required"]) == (3600, True)


def test_without_an_agent_that_has_one_nobody_issues_certificates(sources: Sources) -> None:
    sources.unit("identity", IDENTITY)
    sources.agent("idle")
    sources.machine.write_text("[identity]\nlife_s = 60\n", encoding="utf-8")
    (unit,) = [unit for unit in sources.compile().units if unit.name == "identity"]
    assert unit.is_unconfigured


def test_who_wants_a_gpu_comes_after_who_gives_it(sources: Sources) -> None:
    sources.unit("zgpu", 'provides = ["org.ainos.Gpu"]')
    sources.agent("worker", '[gpu]\nprofile = "1g.10gb"')
    sources.agent("idle")
    units = {unit.name: unit for unit in sources.compile().units}
    assert units["worker"].after == ["zgpu"]
    assert not units["idle"].after


def test_who_gives_gpus_may_want_one_and_is_not_after_itself(sources: Sources) -> None:
    sources.agent("gpu", 'provides = ["org.ainos.Gpu"]\n[gpu]\nprofile = "1g.10gb"')
    sources.agent("worker", 'after = ["gpu"]\n[gpu]\nprofile = "1g.10gb"')
    assert [unit.after for unit in sources.compile().units] == [(), ["gpu"]]


def test_a_unit_is_given_the_table_that_it_is_there_for() -> None:
    unit, other = make_unit("remote", configured_by="remote"), make_unit("other")
    unit.environment = {"A": "b", "AINOS_SETTINGS": "of another configuration"}
    other.environment = {"AINOS_SETTINGS": "its own"}
    assemble([(unit, "r.toml"), (other, "o.toml")], {"remote": {"port": 1}})
    assert unit.environment == {"A": "b", "AINOS_SETTINGS": '{"port":1}'}
    assert other.environment == {"AINOS_SETTINGS": "its own"}
    assemble([(unit, "r.toml")], {})
    assert unit.environment == {"A": "b"}


@pytest.mark.parametrize(
    "program",
    [
        *("/dev/x", "/mnt/x", "/proc/x", "/root/x", "/run/x", "/sys/x", "/tmp/x"),
        *("/var/x", "/usr/../var/x", "/usr/./x", "/usr//x"),
    ],
)
def test_a_units_own_program_lies_on_the_verified_root(program: str) -> None:
    for fields in ({"exec": [program]}, {"probe_exec": [program]}):
        with pytest.raises(ConfigError) as caught:
            overlay([], [(make_unit("a", **fields), "a.toml")], {})
        assert [str(one) for one in caught.value.findings] == [
            f"a.toml:1: {program} does not lie on the verified root"
        ]
    own = (make_unit("a", exec=["/usr/bin/x", program]), "a.toml")
    assert overlay([], [own], {}) == [own]


def test_without_a_text_a_finding_points_at_the_first_line() -> None:
    with pytest.raises(ConfigError) as caught:
        assemble([], {"disabled": ["a"]})
    assert [str(one) for one in caught.value.findings] == [
        "machine configuration:1: disabled names no unit: a"
    ]


def test_a_plan_survives_its_json_form_and_a_second_compilation(sources: Sources) -> None:
    sources.unit("a", 'requires = ["b"]\nenvironment = { A = "ü" }')
    sources.agent("b", '[gpu]\nprofile = "1g.10gb"\n[resources]\nmemory_max = "1G"')
    plan = sources.compile()
    text = dumps(plan.to_record())
    record = loads(text)
    assert isinstance(record, dict)
    assert dumps(Plan.from_record(record).to_record()) == text
    base = sources.root / "plan.json"
    base.write_text(text, encoding="ascii")
    assert dumps(compile_plan(sources.machine, base=base).to_record()) == text
