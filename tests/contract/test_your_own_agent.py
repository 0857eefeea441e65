"""docs/your-own-agent.md is right: its files and commands, up to the machine, and its agent in its
sandbox. The rest is ``tests/qemu/test_your_own_agent.py``.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from lib import product
from lib.host import HostError, run
from lib.sandboxes import agents

from ainit.policy import config
from ainit.policy.publishers import Publisher, from_records
from ainit.store.admission import Store
from ainit.store.keys import load_keys
from tests.support.store import FakeCover
from tests.support.walkthrough import BOOT, ONLINE, PAGE, Walk, before_a_machine, pieces


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    return before_a_machine(tmp_path_factory.mktemp("home"))


def test_its_agent_answers_in_its_sandbox(walk: Walk) -> None:
    *_, asked, answered = (
        piece
        for piece in pieces(PAGE, ONLINE)
        if "call org.example" in piece.text or piece.kind == "json"
    )
    _, _, method, parameters = asked.text.split(maxsplit=3)
    model = walk.place("~/models/price/model.onnx")
    with (
        agents.Stand(walk.place("~/agents/price"), "AINOS_MODEL_PRICE", model) as stand,
        stand.start(sandboxed=True) as agent,
    ):
        found = agent.call(method, json.loads(parameters.strip().strip("'")))
    assert found == json.loads(answered.text)


def test_what_it_may_is_said_in_words(walk: Walk) -> None:
    said = walk.run("ainitctl sandbox explain ~/agents/price")
    assert said.startswith("price: Says what a flat costs\n")
    assert "org.example.Price" in said


def test_a_machine_with_its_configuration_takes_its_model(walk: Walk, tmp_path: Path) -> None:
    text = walk.place("~/machine.toml").read_text()
    settings, findings = config.machine(text, "machine.toml")
    assert not findings
    publishers = from_records(settings["publishers"])
    verdicts = {}
    nobody: list[Publisher] = []
    for trusted in (nobody, [*publishers.values()]):
        root = tmp_path / str(len(trusted))
        shutil.copytree(walk.place("~/models/price"), root / "incoming/price")
        cover = FakeCover()
        keys = load_keys(tmp_path, trusted)
        [verdict] = Store(str(root), cover, keys, publishers=publishers).run()
        cover.close()
        verdicts[len(trusted)] = (verdict.name, verdict.state)
    assert verdicts == {0: ("price", "refused"), 1: ("price", "admitted")}


def test_its_stick_holds_the_model(walk: Walk) -> None:
    listed = run(["mdir", "-b", "-i", str(walk.place("~/stick.img")), "::/price"])
    names = {line.rpartition("/")[2] for line in listed.split()}
    assert names == {"model.onnx", "model.sig", "record.json"}


def test_an_image_takes_the_directory_of_agents(walk: Walk, tmp_path: Path) -> None:
    product.lay_agents(tmp_path, walk.place("~/agents"))
    laid = {path.name for path in (tmp_path / product.LIBRARY / "agents/price").iterdir()}
    assert laid == {"__main__.py", "manifest.toml", "org.example.Price.varlink"}
    with pytest.raises(HostError, match="the image has an agent of this name"):
        product.lay_agents(tmp_path, walk.place("~/agents"))
    with pytest.raises(HostError, match="holds no agent"):
        product.lay_agents(tmp_path, walk.place("~/models"))


def test_the_machine_is_booted_with_what_was_made() -> None:
    [boot] = [piece for piece in pieces(PAGE, ONLINE) if piece.kind == BOOT]
    assert boot.text == 'make run AGENTS="$HOME/agents" STICK="$HOME/stick.img" KEEP=1\n'
