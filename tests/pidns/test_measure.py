"""Measure, then start: configuration, models and agents under a real PID 1."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ainit.child.client import VarlinkError
from ainit.linux import fsverity
from ainit.pid1.enforcement import IN_FORCE
from ainit.policy import phases
from tests.pidns.machine import Machine, Record
from tests.support import smbios
from tests.support.wait import wait_for

PRINTS_ITS_ENVIRONMENT = """
import json, os, signal
print(json.dumps(dict(os.environ)), flush=True)
print(json.dumps({"uid": os.getuid(), "cwd": os.getcwd()}), flush=True)
signal.pause()
"""


def facts(machine: Machine) -> Record:
    found = machine.call("Status")["machine"]
    assert isinstance(found, dict)
    return found


def records(machine: Machine) -> list[Record]:
    found = machine.call("Measurements")["records"]
    assert isinstance(found, list)
    return found


def contents(machine: Machine) -> list[tuple[str, str]]:
    found = []
    for record in records(machine):
        content = record["content"]
        assert isinstance(content, dict)
        found.append((content["type"], str(content.get("name", content.get("pcr")))))
    return found


def printed(machine: Machine, unit: str) -> list[Record]:
    """The JSON objects among a unit's lines, once it printed the last that it prints."""
    machine.wait_log(unit, '"cwd"')
    return [json.loads(line) for line in machine.log(unit) if line.startswith("{")]


def test_the_boot_set_is_in_the_tpm_in_its_order(machine: Machine) -> None:
    machine.tpm()
    machine.model("speech", "a model")
    machine.model("file-type", "another")
    machine.model("bad", "unsigned", state="refused", reason="no signature")
    machine.agent("listener", PRINTS_ITS_ENVIRONMENT, models=["speech"])
    machine.agent("archivist", PRINTS_ITS_ENVIRONMENT, models=["file-type"])
    machine.boot()
    machine.wait_state("listener", "ready")
    machine.wait_state("archivist", "ready")
    assert contents(machine) == [
        ("boot", "None"),
        ("machine-config", "machine"),
        ("refusal", "bad"),
        ("model", "file-type"),
        ("model", "speech"),
        ("agent", "archivist"),
        ("agent", "listener"),
        *(("cap", str(pcr)) for pcr in (12, 13, 14)),
    ]
    answer = machine.call("Measurements")
    replayed = phases.replay(records(machine))
    pcrs = answer["pcrs"]
    assert isinstance(pcrs, dict)
    assert {pcr: pcrs[str(pcr)] for pcr in replayed} == {p: v.hex() for p, v in replayed.items()}
    log = (machine.directory / "run/measurements.cel").read_text(encoding="ascii").splitlines()
    assert [json.loads(line) for line in log] == records(machine)


def test_a_restart_extends_nothing(machine: Machine) -> None:
    machine.tpm()
    machine.model("speech", "a model")
    machine.agent("listener", PRINTS_ITS_ENVIRONMENT, models=["speech"])
    machine.boot()
    before = machine.wait_state("listener", "ready")["pid"]
    recorded = records(machine)
    machine.call("Restart", name="listener")
    machine.wait_state("listener", "stopping", "starting", "waiting", "ready")
    machine.wait_log("listener", "restarted on request")
    assert machine.wait_state("listener", "ready")["pid"] != before
    assert records(machine) == recorded


def test_an_agent_runs_from_its_bundle_as_a_user_of_its_own(machine: Machine) -> None:
    machine.tpm()
    machine.agent("alpha", PRINTS_ITS_ENVIRONMENT, environment={"GREETING": "hello"})
    machine.agent("beta", PRINTS_ITS_ENVIRONMENT)
    machine.boot()
    environment, process = printed(machine, "alpha")
    assert environment["GREETING"] == "hello"
    assert environment["AINOS_UNIT"] == "alpha"
    assert process["cwd"] == f"{machine.directory}/run/agents/alpha"
    uids = [process["uid"], printed(machine, "beta")[1]["uid"]]
    assert 0 not in uids
    assert len(set(uids)) == 2


def test_a_model_is_read_through_the_descriptor_that_was_measured(machine: Machine) -> None:
    path = machine.model("speech-model", "the measured content")
    machine.unit("listener", "model", "AINOS_MODEL_SPEECH_MODEL", models=["speech-model"])
    machine.unit(
        "provider",
        "model",
        "AINOS_MODEL_SPEECH_MODEL",
        models=["speech-model"],
        provides=["org.ainos.agent.X"],
    )
    machine.boot()
    machine.wait_log("listener", "the measured content")
    machine.wait_log("provider", "the measured content")
    assert path.exists()


# A worker that inherits nothing reads the files, as an engine does; then its parent adds one.
READS_A_DIRECTORY = """
import os, signal, subprocess, sys
where = os.environ["AINOS_MODEL_LLAMA"]
read = "import os, sys; print(*(open(os.path.join(sys.argv[1], each)).read()" \\
    " for each in sorted(os.listdir(sys.argv[1]))), flush=True)"
subprocess.run([sys.executable, "-c", read, where], close_fds=True, check=True)
try:
    open(os.path.join(where, "more"), "w")
except OSError as error:
    print("cannot add a file:", error.strerror, flush=True)
print("resolved", os.path.realpath(os.path.join(where, "a.gguf")), flush=True)
signal.pause()
"""


def test_a_model_of_several_files_is_a_directory_while_the_unit_is_up(machine: Machine) -> None:
    machine.tpm()
    store = machine.model_of_several("llama", {"a.gguf": "first", "b.gguf": "second"})
    starts = {"system_calls": ["processes"]}
    machine.agent("reader", READS_A_DIRECTORY, models=["llama"], sandbox=starts)
    machine.boot()
    where = machine.directory / "run/models"
    machine.wait_log("reader", f"resolved {where}/reader/llama/a.gguf")
    assert "first second" in machine.log("reader")
    assert "cannot add a file: Read-only file system" in machine.log("reader")
    assert contents(machine).count(("model", "llama")) == 1

    machine.model_of_several("llama", {"a.gguf": "third", "b.gguf": "fourth"})
    assert (store / "a.gguf").read_text() == "third"
    machine.call("Restart", name="reader")
    machine.wait_log("reader", "third fourth")
    assert contents(machine).count(("model", "llama")) == 2
    machine.call("Stop", name="reader")
    machine.wait_state("reader", "inactive")
    wait_for(lambda: os.listdir(where) == [], "the directory to be gone")


@pytest.mark.parametrize("how", ["altered", "exchanged", "gone", "linked"])
def test_a_model_of_several_files_is_refused_as_a_whole(machine: Machine, how: str) -> None:
    folder = machine.model_of_several("llama", {"a.gguf": "first", "b.gguf": "2nd"})
    if how == "altered":
        (folder / "b.gguf").write_text("3rd", encoding="utf-8")
    elif how == "exchanged":
        (folder / "a.gguf").rename(folder / "x")
        (folder / "b.gguf").rename(folder / "a.gguf")
        (folder / "x").rename(folder / "b.gguf")
    else:
        (folder / "b.gguf").rename(folder / "x")
    if how == "linked":
        (folder / "b.gguf").symlink_to("x")
    machine.unit("reader", "model", "AINOS_MODEL_LLAMA", models=["llama"])
    machine.boot()
    reason = str(machine.wait_state("reader", "refused")["reason"])
    assert reason.startswith("model llama: ")
    assert ("refusal", "llama") in contents(machine)
    assert ("model", "llama") not in contents(machine)
    assert not (machine.directory / "run/models/reader").exists()


def test_an_altered_model_is_refused_and_others_go_on(machine: Machine) -> None:
    machine.tpm()
    altered = machine.model("speech", "a model")
    machine.model("file-type", "another")
    altered.write_text("A model", encoding="utf-8")
    machine.agent("listener", PRINTS_ITS_ENVIRONMENT, models=["speech"])
    machine.agent("archivist", PRINTS_ITS_ENVIRONMENT, models=["file-type"])
    machine.unit("optional", "model", "AINOS_MODEL_SPEECH", optional_models=["speech"])
    machine.boot()
    machine.wait_state("archivist", "ready")
    refused = machine.wait_state("listener", "refused")
    assert str(refused["reason"]).startswith("model speech: altered: is sha256:")
    assert refused["pid"] is None
    machine.wait_log("optional", "no model")
    assert any("starts without the model speech: altered" in x for x in machine.log("optional"))
    assert ("refusal", "speech") in contents(machine)
    assert ("model", "speech") not in contents(machine)


@pytest.mark.parametrize("missing", ["unknown to the store", "file gone"])
def test_a_missing_model_is_refused(machine: Machine, missing: str) -> None:
    if missing == "file gone":
        machine.model("speech", "a model").unlink()
    machine.unit("listener", "model", "AINOS_MODEL_SPEECH", models=["speech"])
    machine.boot()
    reason = str(machine.wait_state("listener", "refused")["reason"])
    assert reason.startswith("model speech: ")


def test_a_fifo_in_place_of_a_model_does_not_stop_pid_1(machine: Machine) -> None:
    path = machine.model("speech", "a model")
    path.unlink()
    os.mkfifo(path)
    machine.unit("listener", "model", "AINOS_MODEL_SPEECH", models=["speech"])
    machine.boot()
    machine.wait_state("listener", "refused")


def test_a_directory_in_place_of_a_model_does_not_stop_the_boot(machine: Machine) -> None:
    """The boot set must close over whatever cannot be read."""
    path = machine.model("speech", "a model")
    path.unlink()
    path.mkdir()
    machine.unit("listener", "model", "AINOS_MODEL_SPEECH", models=["speech"])
    machine.unit("other", "pause")
    machine.boot()
    machine.wait_state("listener", "refused")
    machine.wait_state("other", "ready")
    assert ("refusal", "speech") in contents(machine)


def test_without_a_tpm_agents_are_refused_and_services_run(machine: Machine) -> None:
    machine.agent("strict", PRINTS_ITS_ENVIRONMENT)
    machine.agent("lenient", PRINTS_ITS_ENVIRONMENT, measurement="optional")
    machine.unit("service", "pause")
    machine.boot()
    machine.wait_state("service", "ready")
    machine.wait_state("lenient", "ready")
    refused = machine.wait_state("strict", "refused")
    assert "must be measured, and no TPM" in str(refused["reason"])
    assert facts(machine)["tpm"] == "no TPM: this test gives none"
    assert machine.call("Measurements")["pcrs"] == {}
    assert ("agent", "strict") in contents(machine)


def test_machine_policy_may_start_agents_without_a_tpm(machine: Machine) -> None:
    machine.configure('[policy]\nwithout_tpm = "start"\n', image=True)
    machine.agent("strict", PRINTS_ITS_ENVIRONMENT)
    machine.boot()
    machine.wait_state("strict", "ready")


def unenforced(machine: Machine) -> None:
    """From now on the kernel has no programs that one could take hold of."""
    (machine.directory / "unenforced").touch()


def test_without_enforcement_agents_are_refused_and_services_run(machine: Machine) -> None:
    machine.tpm()
    unenforced(machine)
    machine.agent("speech", PRINTS_ITS_ENVIRONMENT)
    machine.unit("service", "pause")
    machine.boot()
    machine.wait_state("service", "ready")
    refused = machine.wait_state("speech", "refused")
    assert "without_enforcement = refuse" in str(refused["reason"])
    assert "no program agents" in str(facts(machine)["enforcement"])


def test_machine_policy_may_start_agents_without_enforcement(machine: Machine) -> None:
    machine.configure('[policy]\nwithout_enforcement = "start"\n', image=True)
    machine.tpm()
    unenforced(machine)
    machine.agent("speech", PRINTS_ITS_ENVIRONMENT)
    machine.boot()
    machine.wait_state("speech", "ready")
    assert any("without enforcement" in line for line in machine.log("speech"))


def test_enforcement_is_held_over_a_re_execution(machine: Machine) -> None:
    """Programs whose names somebody removed stay in force, and agents can be started again."""
    machine.tpm()
    machine.agent("speech", PRINTS_ITS_ENVIRONMENT)
    machine.boot()
    before = machine.wait_state("speech", "ready")["pid"]
    unenforced(machine)
    machine.call("Reexec")
    assert facts(machine)["enforcement"] == IN_FORCE
    machine.call("Restart", name="speech")
    wait_for(lambda: machine.describe("speech")["pid"] not in (None, before), "another process")
    machine.wait_state("speech", "ready")


def test_the_machines_own_configuration_is_used_and_measured(machine: Machine) -> None:
    text = '[machine]\nhostname = "own"\n\n[units]\ndisabled = ["extra"]\n'
    machine.configure(text)
    machine.unit("service", "pause")
    machine.unit("extra", "pause")
    machine.boot()
    assert facts(machine)["hostname"] == "own"
    assert facts(machine)["configuration"] == f"{machine.directory}/state/config/machine.toml"
    units = machine.call("Status")["units"]
    assert isinstance(units, list)
    assert [unit["name"] for unit in units] == ["service"]
    digest = fsverity.text(fsverity.digest_file(f"{machine.directory}/state/config/machine.toml"))
    assert records(machine)[0]["content"] == {
        "type": "machine-config",
        "name": "machine",
        "digest": digest,
    }


def wrong(path: Path, how: str) -> None:
    match how:
        case "syntax":
            path.write_text("[machine]\nhostname = \n", encoding="utf-8")
        case "value":
            path.write_text("\n[machine]\nhostname = 3\n", encoding="utf-8")
        case "reference":
            path.write_text('[units]\n\ndisabled = ["nobody"]\n', encoding="utf-8")
        case "bytes":
            path.write_bytes(b"\xff\xfe")
        case "large":
            path.write_bytes(b"#" * ((1 << 20) + 1))
        case "directory":
            path.mkdir()


@pytest.mark.parametrize(
    ("how", "line"),
    [("syntax", 2), ("value", 3), ("reference", 3), ("bytes", 1), ("large", 1), ("directory", 1)],
)
def test_a_wrong_configuration_is_refused_with_its_line_and_the_default_runs(
    machine: Machine, how: str, line: int
) -> None:
    path = machine.directory / "state/config/machine.toml"
    wrong(path, how)
    machine.unit("service", "pause")
    machine.boot()
    machine.wait_state("service", "ready")
    found = facts(machine)
    assert str(found["configuration"]).startswith(f"refused: {path}:{line}: ")
    assert found["hostname"] == "test"
    findings = found["findings"]
    assert isinstance(findings, list)
    assert any(text.startswith("machine configuration refused") for text in findings)
    first, second = records(machine)[:2]
    assert isinstance(first["content"], dict)
    assert isinstance(second["content"], dict)
    assert (first["content"]["type"], second["content"]["type"]) == ("refusal", "machine-config")
    default = fsverity.text(fsverity.digest_file(f"{machine.directory}/machine.toml"))
    assert second["content"]["digest"] == default


def offer(machine: Machine, text: str) -> str:
    """What the hypervisor offers; returns its digest."""
    credential = b"io.systemd.credential:ainos.machine=" + text.encode()
    (machine.directory / "smbios").write_bytes(smbios.table(credential))
    return digest_of(machine, text)


def digest_of(machine: Machine, text: str) -> str:
    path = machine.directory / "text"
    path.write_text(text, encoding="utf-8")
    return fsverity.text(fsverity.digest_file(str(path)))


def test_what_the_hypervisor_offers_is_used_where_the_state_has_nothing(machine: Machine) -> None:
    digest = offer(machine, '[machine]\nhostname = "offered"\n')
    machine.unit("service", "pause")
    machine.boot()
    found = facts(machine)
    assert (found["hostname"], found["configuration"]) == ("offered", "SMBIOS")
    assert "refused" not in str(found["findings"])
    assert [record["content"] for record in records(machine)[:2]] == [
        {"type": "config-source", "name": "smbios", "digest": digest},
        {"type": "machine-config", "name": "machine", "digest": digest},
    ]


def test_what_the_hypervisor_offers_does_not_stand_before_the_state(machine: Machine) -> None:
    offer(machine, '[machine]\nhostname = "offered"\n')
    machine.configure('[machine]\nhostname = "own"\n')
    machine.unit("service", "pause")
    machine.boot()
    assert facts(machine)["hostname"] == "own"
    assert contents(machine)[0] == ("machine-config", "machine")


def test_an_offer_that_is_read_anew_is_measured_with_its_source(machine: Machine) -> None:
    offer(machine, '[machine]\nhostname = "offered"\n')
    machine.unit("service", "pause")
    machine.boot()
    machine.wait_state("service", "ready")
    digest = offer(machine, '[machine]\nhostname = "another"\n')
    machine.call("ReloadConfiguration")
    assert [record["content"] for record in records(machine)[-2:]] == [
        {"type": "config-source", "name": "smbios", "digest": digest},
        {"type": "machine-config", "name": "machine", "digest": digest},
    ]


def test_a_wrong_offer_is_refused_with_its_line(machine: Machine) -> None:
    offer(machine, "[machine]\nhostname = 3\n")
    machine.unit("service", "pause")
    machine.boot()
    machine.wait_state("service", "ready")
    found = facts(machine)
    assert str(found["configuration"]).startswith("refused: SMBIOS/machine.toml:2: ")
    assert found["hostname"] == "test"
    assert contents(machine)[:2] == [("refusal", "machine"), ("machine-config", "machine")]


def test_a_configuration_that_is_damaged_does_not_let_the_hypervisor_in(machine: Machine) -> None:
    """Who may flip bits of a sealed state must not come to steer it by that."""
    offer(machine, '[machine]\nhostname = "offered"\n')
    machine.configure("[machine]\nhostname = 3\n")
    machine.unit("service", "pause")
    machine.boot()
    found = facts(machine)
    assert found["hostname"] == "test"
    assert str(found["configuration"]).startswith("refused: ")
    findings = found["findings"]
    assert isinstance(findings, list)
    assert any("config/machine.toml:2: " in text for text in findings)
    assert contents(machine)[:2] == [("refusal", "machine"), ("machine-config", "machine")]


def test_a_stick_configures_a_machine_once(machine: Machine) -> None:
    text = '[machine]\nhostname = "from-a-stick"\n'
    machine.unit("service", "pause")
    machine.boot()
    machine.wait_state("service", "ready")
    given = {"files": {"machine.toml": text}, "source": "stick"}
    machine.call("Configure", **given)
    assert [record["content"] for record in records(machine)[-2:]] == [
        {"type": kind, "name": name, "digest": digest_of(machine, text)}
        for kind, name in (("config-source", "stick"), ("machine-config", "machine"))
    ]
    stored = machine.directory / "state/config/machine.toml"
    assert stored.read_text(encoding="utf-8") == text
    count = len(records(machine))
    with pytest.raises(VarlinkError, match="Refused") as error:
        machine.call("Configure", **given)
    assert "this machine has a configuration" in str(error.value.parameters["reason"])
    assert len(records(machine)) == count


def test_an_agent_gets_its_gpu_instance_and_gives_it_back(machine: Machine) -> None:
    journal = machine.directory / "journal"
    machine.tpm()
    machine.unit("gpu", "provide", "org.ainos.Gpu", str(journal), provides=["org.ainos.Gpu"])
    machine.agent("worker", PRINTS_ITS_ENVIRONMENT, gpu="1g.10gb")
    machine.agent("giant", PRINTS_ITS_ENVIRONMENT, gpu="7g.80gb")
    machine.boot()
    environment, _ = printed(machine, "worker")
    assert environment["CUDA_VISIBLE_DEVICES"] == "MIG-0"
    assert machine.describe("worker")["gpu"] == {"profile": "1g.10gb", "uuid": "MIG-0", "gpu": 0}
    reason = machine.wait_state("giant", "backoff")["reason"]
    assert reason == "no GPU instance: NoRoom: profile 7g.80gb"
    machine.call("Stop", name="worker")
    machine.wait_state("worker", "inactive")
    wait_for(lambda: "-worker" in journal.read_text(encoding="ascii").split(), "its release")


def test_without_a_gpu_service_an_agent_says_what_it_misses(machine: Machine) -> None:
    machine.tpm()
    machine.agent("worker", PRINTS_ITS_ENVIRONMENT, gpu="1g.10gb")
    machine.boot()
    reason = machine.wait_state("worker", "backoff")["reason"]
    assert reason == "no GPU instance: no unit provides org.ainos.Gpu"


def test_a_model_is_handed_over_later_measured_first(machine: Machine) -> None:
    machine.tpm()
    machine.model("placement", "the first")
    machine.unit("gpu", "pause", optional_models=["placement", "absent"])
    machine.unit("other", "pause")
    machine.boot()
    machine.wait_state("gpu", "ready")
    before = len(records(machine))
    machine._admitted.clear()
    machine.model("placement", "the second")
    path = str(machine.call("HandModel", name="gpu", model="placement")["path"])
    text = inside(machine, path)
    assert text == "the second"
    (record,) = records(machine)[before:]
    content = record["content"]
    assert isinstance(content, dict)
    assert (content["type"], content["name"]) == ("model", "placement")
    machine.call("HandModel", name="gpu", model="placement")
    assert len(records(machine)) == before + 1  # the same is measured once
    for unit, model, why in (
        ("other", "placement", "does not name the model"),
        ("gpu", "absent", "is not in the model store"),
    ):
        with pytest.raises(VarlinkError, match=why):
            machine.call("HandModel", name=unit, model=model)
    (machine.directory / "models/placement").write_text("altered")
    with pytest.raises(VarlinkError, match="altered"):
        machine.call("HandModel", name="gpu", model="placement")
    machine.call("Stop", name="gpu")
    machine.wait_state("gpu", "inactive")
    with pytest.raises(VarlinkError, match="gpu is down"):
        machine.call("HandModel", name="gpu", model="placement")


def inside(machine: Machine, path: str) -> str:
    """A file as the machine's processes see it."""
    return Path(f"/proc/{machine.init_host_pid}/root{path}").read_text(encoding="utf-8")
