"""``[identity]``: every key arrives, and what contradicts itself is a finding at its line."""

from __future__ import annotations

import pytest

from ainit.policy import identity
from ainit.policy.identity import Settings
from ainit.policy.machine_config import machine
from ainit.policy.plan import AGENT, Unit
from ainit.wire.codec import dumps, loads


def findings(text: str) -> list[str]:
    return [str(finding) for finding in machine("[identity]\n" + text, "m.toml")[1]]


def agent() -> Unit:
    made = Unit("notes", AGENT)
    made.user, made.sandbox = 61184, {"certificate": True}
    return made


def test_every_key_arrives_through_json() -> None:
    text = (
        '[identity]\ntrust_domain = "a.example"\nlife_s = 60\nattest_interval_s = 120\n'
        "verdict_required = true\n"
    )
    settings, wrong = machine(text, "m.toml")
    assert wrong == []
    record = loads(dumps(identity.settings([agent()], settings)))
    assert identity.from_record(record) == Settings("a.example", 60, 120, True, {"notes": 61184})


def test_without_the_table_there_are_defaults() -> None:
    settings, wrong = machine('[machine]\nhostname = "Rack-7"\n', "m.toml")
    assert (wrong, "identity" in settings) == ([], False)
    record = identity.settings([agent()], settings)
    assert identity.from_record(record) == Settings("rack-7", 600, 3600, False, {"notes": 61184})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "life_s = 3600\n",
            "2: a life of 3600 s is not shorter than attestation's interval of 3600 s",
        ),
        (
            "attest_interval_s = 600\n",
            "2: a life of 600 s is not shorter than attestation's interval of 600 s",
        ),
        (
            "attest_interval_s = 300\nlife_s = 400\n",
            "3: a life of 400 s is not shorter than attestation's interval of 300 s",
        ),
        ("life_s = 59\n", "2: life_s is a whole number from 60 to 86400"),
        ('trust_domain = "A"\n', "2: trust_domain is lower-case letters, digits, ., - and _"),
        ('trust_domain = "a/b"\n', "2: trust_domain is lower-case letters, digits, ., - and _"),
        ("verdict_required = 1\n", "2: verdict_required is true or false"),
    ],
)
def test_what_is_wrong_is_found_at_its_line(text: str, found: str) -> None:
    assert findings(text) == [f"m.toml:{found}"]


@pytest.mark.parametrize("record", [None, [], {"agents": []}, 7])
def test_what_are_no_settings(record: object) -> None:
    with pytest.raises(ValueError, match="no settings of"):
        identity.from_record(record)
