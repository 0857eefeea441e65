"""Where updates come from, and when: every key arrives, every finding comes with its line."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ainit.ota import release
from ainit.policy import calendar_text
from ainit.policy.machine_config import machine
from ainit.policy.update import CHANNELS, Settings, from_record, opens

HEAD = '[update]\nrepository = "http://updates.example/ainos"\n'
WHOLE = """\
[update]
repository = "http://10.0.0.8:8080/ainos"
channel = "beta"
automatic = "reboot"
windows = ["Sat 02:00", "daily"]
window_s = 3600
poll_s = 600
jitter_s = 60
healthy_s = 10
healthy_within_s = 100
rate = "2M"
proxy = "http://10.0.0.9:3128"
required = ["agents", "network"]
"""
SATURDAY = 1_800_000_000 // 86400 * 86400 + 86400  # 2027-01-16, a Saturday


def test_every_key_arrives_through_json() -> None:
    record, wrong = machine(WHOLE, "m.toml")
    assert wrong == []
    assert from_record(json.loads(json.dumps(record["update"]))) == Settings(
        repository="http://10.0.0.8:8080/ainos",
        channel="beta",
        automatic="reboot",
        windows=(calendar_text.parse("Sat 02:00"), calendar_text.parse("daily")),
        window_s=3600,
        poll_s=600,
        jitter_s=60,
        healthy_s=10,
        healthy_within_s=100,
        rate=2 << 20,
        proxy="http://10.0.0.9:3128",
        required=("agents", "network"),
    )


def test_without_the_table_nothing_is_looked_for() -> None:
    assert "update" not in machine("", "m.toml")[0]
    assert not from_record(None).polls
    assert from_record(machine(HEAD, "m.toml")[0]["update"]).polls
    assert not from_record(machine(HEAD + 'automatic = "off"\n', "m.toml")[0]["update"]).polls


def test_who_vouches_for_a_server() -> None:
    pem = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n"
    text = f'[update]\nrepository = "https://updates.example"\nauthorities = """\n{pem * 2}"""\n'
    record, wrong = machine(text, "m.toml")
    assert (from_record(record["update"]).authorities, wrong) == (pem * 2, [])


def test_channels_are_those_that_releases_have() -> None:
    assert release.CHANNELS == CHANNELS


@pytest.mark.parametrize("address", ["usb:UPDATES/ainos", "usb:UPDATES", "/srv/updates"])
def test_repositories_without_a_network(address: str) -> None:
    record, wrong = machine(f'[update]\nrepository = "{address}"\n', "m.toml")
    assert (from_record(record["update"]).repository, wrong) == (address, [])


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ('[update]\nrepository = "ftp://x"\n', "m.toml:2: repository is an http:// or https://"),
        ('[update]\nrepository = "https://u:p@x/"\n', "m.toml:2: repository is an http://"),
        (HEAD + 'channel = "nightly"\n', "m.toml:3: channel is one of stable, beta, edge"),
        (HEAD + "automatic = true\n", "m.toml:3: automatic is one of off, check, install, reboot"),
        (HEAD + 'windows = ["Sun", "sometimes"]\n', "m.toml:3: windows has 'sometimes', which has"),
        (HEAD + 'windows = "Sun"\n', "m.toml:3: windows is a list"),
        (HEAD + "window_s = 1\n", "m.toml:3: window_s is a whole number from 60 to 604800"),
        (HEAD + "poll_s = 0\n", "m.toml:3: poll_s is a whole number from 60 to 2592000"),
        (HEAD + 'rate = "1B"\n', 'm.toml:3: rate is a size such as "512M"'),
        (HEAD + 'proxy = "socks://x"\n', "m.toml:3: proxy is an http:// address"),
        (HEAD + 'required = ["weather"]\n', "m.toml:3: required is one of agents, gpus, network,"),
        (HEAD + 'required = ["gpus", "gpus"]\n', "m.toml:3: required has gpus twice"),
        (HEAD + "healthy_s = -1\n", "m.toml:3: healthy_s is a whole number from 0 to 86400"),
        (
            HEAD + "healthy_s = 3600\n",
            "m.toml:3: healthy_within_s 1800 leaves no time to be healthy for healthy_s 3600",
        ),
        (HEAD + "healthy_within_s = 100\n", "m.toml:3: healthy_within_s 100 leaves no time"),
        (HEAD + "colour = 1\n", "m.toml:3: unknown key colour (known: authorities, automatic,"),
        ('[update]\nchannel = "beta"\n', "m.toml:2: channel is of no use without a repository"),
        ('[update]\nautomatic = "install"\n', "m.toml:2: automatic needs a repository"),
        (
            '[update]\nrepository = "/srv"\nproxy = "http://x"\n',
            "m.toml:3: proxy is for a repository at an http address",
        ),
        (
            '[update]\nrepository = "https://updates.example"\n',
            "m.toml:2: an https:// repository needs authorities: the image has none",
        ),
        (HEAD + 'authorities = "mine"\n', "m.toml:3: authorities is certificates in PEM"),
        ("update = 3\n", "m.toml:1: update is a table"),
    ],
)
def test_findings(text: str, finding: str) -> None:
    found = [str(each) for each in machine(text, "m.toml")[1]]
    assert len(found) == 1
    assert found[0].startswith(finding)


def test_windows() -> None:
    always = Settings()
    assert opens(always, SATURDAY) == 0
    nights = replace(always, windows=(calendar_text.parse("Sat 02:00"),), window_s=3600)
    begin = SATURDAY + 7200
    assert opens(nights, SATURDAY) == 7200
    assert opens(nights, begin) == 0
    assert opens(nights, begin + 3599) == 0
    assert opens(nights, begin + 3600) == 7 * 86400 - 3600


def test_windows_that_are_over_for_good() -> None:
    once = Settings(windows=(calendar_text.parse("2001-01-01"),))
    assert opens(once, SATURDAY) == 86400
