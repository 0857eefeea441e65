"""What the store says is believed only as far as it has the right form and the right digest."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ainit.errors import RefusedError, TpmError
from ainit.linux import fsverity, libc, process
from ainit.linux.cgroup import Tree
from ainit.linux.tpm import Tpm
from ainit.pid1.artefacts import Artefacts
from ainit.pid1.confinement import Confinement
from ainit.pid1.enforcement import Enforcement
from ainit.pid1.launch import Launcher
from ainit.pid1.logs import Logs
from ainit.pid1.loop import Loop
from ainit.pid1.measure import Measurements
from ainit.pid1.model_directories import ModelDirectories
from ainit.policy import enforcement, model_files, plan
from tests.support import descriptors
from tests.support.enforcement import MapKeeper
from tests.support.notebook import Notebook
from tests.support.tpm import PcrBank
from tests.support.units import make_unit


class Bench:
    """A launcher over a directory; cgroups are plain directories there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.admitted = directory / "admitted.json"
        self.bank = PcrBank()
        self.loop = Loop()
        self.logs = Logs(self.loop)
        self.journal = Notebook()
        self.measurements = self.measure(lambda: Tpm(transmit=self.bank.transmit))
        self.artefacts = self.admit(self.measurements)
        self.kernel = MapKeeper()
        self.enforcement = Enforcement(self.journal, self.kernel)
        self.launcher = self.make(self.measurements)

    def measure(self, open_tpm: Callable[[], Tpm], log: str = "log") -> Measurements:
        return Measurements(self.journal, open_tpm, str(self.directory / log), str(self.directory))

    def admit(self, measurements: Measurements) -> Artefacts:
        return Artefacts(measurements, self.logs, self.journal, str(self.admitted))

    def make(self, measurements: Measurements, **machine: object) -> Launcher:
        return Launcher(
            measurements,
            Tree(str(self.directory / "cgroup")),
            self.logs,
            self.journal,
            self.admit(measurements),
            self.enforcement,
            machine=machine,
            notify="/nonexistent",
            confinement=Confinement(
                root=str(self.directory / "root"), filter_devices=lambda group, code: None
            ),
        )

    def entry(self, name: str, /, **changes: object) -> dict[str, object]:
        path = self.directory / name
        path.write_text(name)
        digest = fsverity.text(fsverity.digest_file(str(path)))
        entry = {"name": name, "kind": "model", "path": str(path), "digest": digest}
        return {**entry, "state": "admitted", "reason": "", "signer": "", **changes}

    def several(self, name: str, *files: str, **changes: object) -> dict[str, object]:
        """The entry of a model of these files, which hold their names."""
        folder = self.directory / name
        folder.mkdir()
        found = {}
        for file in files:
            (folder / file).write_text(file)
            digest = fsverity.text(fsverity.digest_file(str(folder / file)))
            found[file] = len(file), digest
        digest = model_files.digest(found)
        entry = {"name": name, "kind": "model", "path": str(folder), "digest": digest}
        return {**entry, "state": "admitted", "reason": "", "files": list(files), **changes}

    def publish(self, *entries: object) -> None:
        self.admitted.write_text(json.dumps({"models": entries}))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / "cgroup").mkdir()
    return Bench(tmp_path)


def test_well_formed_entries_are_read(bench: Bench) -> None:
    bench.publish(bench.entry("a"), bench.entry("b", kind="policy"))
    assert sorted(bench.artefacts.admitted()) == ["a", "b"]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "null", "{}", '{"models": 3}', '{"models": {}}', '{"models": [3, null]}',
     '{"models": [{"name": "a"}]}', "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
     "[" * 100_000],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_a_malformed_file_admits_nothing(bench: Bench, text: str) -> None:
    bench.admitted.write_text(text)
    assert bench.artefacts.admitted() == {}
    assert bench.artefacts.boot_events([]) == ([], [])


@pytest.mark.parametrize("field", ["name", "kind", "path", "digest", "state", "reason"])
def test_an_entry_without_a_field_is_passed_over(bench: Bench, field: str) -> None:
    broken = bench.entry("a")
    del broken[field]
    bench.publish(broken, bench.entry("b"))
    assert list(bench.artefacts.admitted()) == ["b"]


@pytest.mark.parametrize("kind", ["agent", "cap", "", None, [], {}])
def test_an_entry_of_another_kind_is_passed_over(bench: Bench, kind: object) -> None:
    bench.publish(bench.entry("a", kind=kind))
    assert bench.artefacts.admitted() == {}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(["name", "kind", "path", "digest", "state", "reason"]),
        st.none() | st.integers() | st.text() | st.lists(st.text()) | st.just("model"),
    )
)
def test_no_entry_disturbs_the_boot_set(bench: Bench, changes: dict[str, object]) -> None:
    bench.publish(bench.entry("good"), bench.entry("a", **changes))
    models, _ = bench.artefacts.boot_events([])
    assert "good" in {event.content["name"] for event in models} or changes.get("name") == "good"


def test_events_of_the_boot_set(bench: Bench) -> None:
    altered = bench.entry("altered")
    (bench.directory / "altered").write_text("other")
    refused = bench.entry("refused", state="refused", reason="no signature")
    gone = bench.entry("gone")
    (bench.directory / "gone").unlink()
    link = bench.entry("link")
    (bench.directory / "link").unlink()
    (bench.directory / "link").symlink_to(bench.directory / "good")
    bench.publish(bench.entry("good"), altered, refused, gone, link)
    agent = make_unit("agent", kind=plan.AGENT, bundle=str(bench.directory / "good"))
    missing = make_unit("missing", kind=plan.AGENT, bundle="/nonexistent")
    models, agents = bench.artefacts.boot_events([agent, missing, make_unit("service")])
    types = {str(event.content["name"]): str(event.content["type"]) for event in models}
    assert types == {
        "good": "model",
        "altered": "refusal",
        "refused": "refusal",
        "gone": "refusal",
        "link": "refusal",
    }
    assert [(event.content["type"], event.content["name"]) for event in agents] == [
        ("agent", "agent"),
        ("refusal", "missing"),
    ]
    assert bench.bank.commands == []  # these are plans; the supervisor's measure carries them out


@pytest.mark.parametrize("case", ["unknown", "refused", "altered"])
def test_a_refused_model_starts_nothing_and_leaks_nothing(bench: Bench, case: str) -> None:
    entry = bench.entry("m", **({"state": "refused", "reason": "bad"} if case == "refused" else {}))
    if case == "altered":
        (bench.directory / "m").write_text("other")
    bench.publish(*([] if case == "unknown" else [entry]))
    unit = make_unit("u", exec=["/bin/false"], models=["m"])
    before = descriptors.at_first()
    with pytest.raises(RefusedError, match="model m: "):
        bench.launcher.spawn(unit, None)
    assert descriptors.now() == before
    assert bench.bank.commands == []


class Mounts:
    """Takes the place of mount(2): what was mounted where, by content."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
        self.done: list[tuple[str, str, str]] = []
        self.root = root
        monkeypatch.setattr("ainit.pid1.artefacts.EXTENSIONS", str(root))
        monkeypatch.setattr("ainit.linux.libc.mount", self)

    def __call__(self, source: str, target: str, kind: str, flags: int) -> None:
        assert flags & libc.MS_RDONLY
        self.done.append((Path(source).read_text(), Path(target).name, kind))


@pytest.fixture
def mounts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Mounts:
    return Mounts(monkeypatch, tmp_path / "extensions")


def child_of(
    bench: Bench,
    unit: plan.Unit,
    monkeypatch: pytest.MonkeyPatch,
    gpu: dict[str, object] | None = None,
) -> process.Child:
    """What a unit would be started as."""
    seen: list[process.Child] = []

    def spawn(child: process.Child) -> int:
        seen.append(child)
        return os.getpid()

    monkeypatch.setattr("ainit.pid1.launch.process.spawn", spawn)
    bench.launcher.spawn(unit, gpu)
    return seen[0]


def environment_of(
    bench: Bench, unit: plan.Unit, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """What a unit would be started with."""
    return dict(child_of(bench, unit, monkeypatch).environment)


def test_an_extension_is_measured_once_and_mounted_where_the_unit_is_told(
    bench: Bench, mounts: Mounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.publish(bench.entry("cuda", kind="extension"))
    unit = make_unit("u", exec=["/bin/false"], extensions=["cuda"])
    for _ in range(2):
        environment = environment_of(bench, unit, monkeypatch)
        assert environment["AINOS_EXTENSION_CUDA"] == f"{mounts.root}/cuda"
    assert mounts.done == [("cuda", "cuda", "erofs")]
    (record,) = bench.measurements.records
    assert (record["pcr"], record["content"]) == (
        13,
        {"type": "extension", "name": "cuda", "digest": bench.entry("cuda")["digest"]},
    )


def test_another_extension_of_the_same_name_is_measured_and_mounted_anew(
    bench: Bench, mounts: Mounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = make_unit("u", exec=["/bin/false"], extensions=["cuda"])
    bench.publish(bench.entry("cuda", kind="extension"))
    environment_of(bench, unit, monkeypatch)
    successor = bench.entry("successor", kind="extension", name="cuda")
    bench.publish(successor)
    environment_of(bench, unit, monkeypatch)
    assert [content for content, _, _ in mounts.done] == ["cuda", "successor"]
    assert len(bench.measurements.records) == 2


@pytest.mark.parametrize("case", ["unknown", "altered", "model"])
def test_an_extension_that_may_not_be_used(
    bench: Bench, mounts: Mounts, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    entry = bench.entry("cuda", kind="model" if case == "model" else "extension")
    if case == "altered":
        (bench.directory / "cuda").write_text("other")
    bench.publish(*([] if case == "unknown" else [entry]))
    unit = make_unit("u", exec=["/bin/false"], extensions=["cuda"])
    before = descriptors.at_first()
    with pytest.raises(RefusedError, match="extension cuda: "):
        bench.launcher.spawn(unit, None)
    assert descriptors.now() == before
    optional = make_unit("u", exec=["/bin/false"], optional_extensions=["cuda"])
    assert "AINOS_EXTENSION_CUDA" not in environment_of(bench, optional, monkeypatch)
    assert mounts.done == []
    assert bench.measurements.records == []


def test_an_extension_that_cannot_be_mounted_stops_only_who_needs_it(
    bench: Bench, mounts: Mounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr("ainit.linux.libc.mount", fails)
    bench.publish(bench.entry("cuda", kind="extension"))
    with pytest.raises(RefusedError, match=r"extension cuda: .*Invalid argument"):
        bench.launcher.spawn(make_unit("u", exec=["/bin/false"], extensions=["cuda"]), None)
    optional = make_unit("u", exec=["/bin/false"], optional_extensions=["cuda"])
    assert "AINOS_EXTENSION_CUDA" not in environment_of(bench, optional, monkeypatch)


def test_who_got_no_gpu_sees_none(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = make_unit("u", exec=["/bin/false"], gpu_profile="1g.10gb", gpu_required=False)
    assert environment_of(bench, unit, monkeypatch)["CUDA_VISIBLE_DEVICES"] == ""
    plain = make_unit("u", exec=["/bin/false"])
    assert "CUDA_VISIBLE_DEVICES" not in environment_of(bench, plain, monkeypatch)


def test_an_extension_is_no_model(bench: Bench) -> None:
    bench.publish(bench.entry("m", kind="extension"))
    unit = make_unit("u", exec=["/bin/false"], models=["m"])
    with pytest.raises(RefusedError, match="model m: is of the kind extension, not model"):
        bench.launcher.spawn(unit, None)


def agent(bench: Bench, **fields: object) -> plan.Unit:
    return make_unit("u", exec=["/bin/false"], measurement=plan.REQUIRED, models=["m"], **fields)


def test_without_a_tpm_nothing_that_must_be_measured_starts(bench: Bench) -> None:
    def none() -> Tpm:
        raise TpmError("no TPM: gone")

    bench.publish(bench.entry("m"))
    launcher = bench.make(bench.measure(none, "l"))
    with pytest.raises(RefusedError, match=r"must be measured, and no TPM: gone"):
        launcher.spawn(agent(bench), None)


def test_a_tpm_lost_over_its_own_measurement_starts_nothing(bench: Bench) -> None:
    bench.publish(bench.entry("m"))
    bench.bank.code = 0x101
    with pytest.raises(RefusedError, match=r"must be measured, and extend of PCR 13"):
        bench.launcher.spawn(agent(bench), None)


def confined(bench: Bench, **fields: object) -> plan.Unit:
    return make_unit("u", kind=plan.AGENT, exec=["/bin/false"], models=["m"], **fields)


def test_an_agent_is_confined_to_what_was_measured_for_it_before_it_runs(
    bench: Bench, mounts: Mounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.publish(bench.entry("m"), bench.entry("cuda", kind="extension"))
    secrets = bench.directory / "secrets"
    secrets.mkdir()
    bench.launcher.prepare = (
        lambda unit, environment: environment.update(CREDENTIALS_DIRECTORY=str(secrets)),
    )
    asked = []

    def admit(name: str, group: int, digests: list[str], directories: list[str]) -> None:
        asked.append((name, os.fstat(group).st_ino, digests, directories))

    monkeypatch.setattr(bench.enforcement, "admit", admit)
    child_of(bench, confined(bench, extensions=["cuda"]), monkeypatch)
    group = os.stat(bench.directory / "cgroup/u").st_ino
    digest = bench.entry("m")["digest"]
    assert asked == [("u", group, [digest], [f"{mounts.root}/cuda", str(secrets)])]


class Laid(ModelDirectories):
    """Notes what is laid out and what goes, by content."""

    def __init__(self) -> None:
        super().__init__()
        self.now: dict[str, dict[str, dict[str, str]]] = {}

    def lay(self, unit: str, models: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
        self.now[unit] = {
            model: {file: os.pread(number, 99, 0).decode() for file, number in files.items()}
            for model, files in models.items()
        }
        return {model: f"/laid/{unit}/{model}" for model in models}

    def remove(self, unit: str) -> None:
        self.now.pop(unit, None)


@pytest.fixture
def laid(bench: Bench) -> Laid:
    laid = Laid()
    bench.artefacts = Artefacts(
        bench.measurements, bench.logs, bench.journal, str(bench.admitted), directories=laid
    )
    bench.launcher._artefacts = bench.artefacts
    return laid


def test_a_model_of_several_files_is_measured_once_and_laid_out(
    bench: Bench, laid: Laid, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent may open exactly these files; descriptors go to models of one file only."""
    llama = bench.several("llama", "a.gguf", "b.gguf")
    bench.publish(bench.entry("m"), llama)
    unit = confined(bench, optional_models=["llama"])
    child = child_of(bench, unit, monkeypatch)
    still_open = [os.path.realpath(f"/proc/self/fd/{number}") for number in descriptors.now()]
    assert not [path for path in still_open if path.startswith(f"{bench.directory}/llama")]
    assert child.environment["AINOS_MODEL_LLAMA"] == "/laid/u/llama"
    assert child.environment["AINOS_MODEL_M"] == "/proc/self/fd/3"
    assert len(child.descriptors) == 1
    assert laid.now == {"u": {"llama": {"a.gguf": "a.gguf", "b.gguf": "b.gguf"}}}
    group = os.stat(bench.directory / "cgroup/u").st_ino
    files = [bench.directory / name for name in ("m", "llama/a.gguf", "llama/b.gguf")]
    digests = [fsverity.text(fsverity.digest_file(str(path))) for path in files]
    wanted = {enforcement.admission(group, digest) for digest in digests}
    assert set(bench.kernel.entries(enforcement.ADMITTED)) == wanted
    measured = [record["content"] for record in bench.measurements.records]
    assert measured[1:] == [{"type": "model", "name": "llama", "digest": llama["digest"]}]
    bench.launcher.confine_no_more(unit)
    assert laid.now == {}


def spoil_content(folder: Path) -> None:
    (folder / "b.gguf").write_text("other")


def spoil_order(folder: Path) -> None:
    (folder / "a.gguf").write_text("b.gguf")
    (folder / "b.gguf").write_text("a.gguf")


def spoil_presence(folder: Path) -> None:
    (folder / "b.gguf").unlink()


@pytest.mark.parametrize("spoil", [spoil_content, spoil_order, spoil_presence])
def test_one_file_that_is_another_refuses_the_model_and_leaks_nothing(
    bench: Bench, laid: Laid, spoil: Callable[[Path], None]
) -> None:
    bench.publish(bench.several("m", "a.gguf", "b.gguf"))
    spoil(bench.directory / "m")
    before = descriptors.at_first()
    with pytest.raises(RefusedError, match="model m: "):
        bench.launcher.spawn(confined(bench), None)
    models, _ = bench.artefacts.boot_events([])
    assert [event.content["type"] for event in models] == ["refusal"]
    assert descriptors.now() == before
    assert (laid.now, bench.measurements.records) == ({}, [])


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (["a.gguf", "../m/b.gguf"], "the store names ../m/b.gguf, which is no file name"),
        (["a.gguf", "/etc/passwd"], "the store names /etc/passwd, which is no file name"),
        (["a.gguf", 7], "the store names 7, which is no file name"),
        (["a.gguf"], "the store does not say of which files it is"),
        ("ab", "the store does not say of which files it is"),
        ({"a": 1, "b": 2}, "the store does not say of which files it is"),
        ([f"{each}.gguf" for each in range(201)], "the store does not say of which files it is"),
        (["a.gguf", "a.gguf"], "altered: is "),
    ],
)
def test_names_that_the_store_would_not_give_are_refused(
    bench: Bench, laid: Laid, files: object, reason: str
) -> None:
    bench.publish(bench.several("m", "a.gguf", "b.gguf", files=files))
    with pytest.raises(RefusedError, match=f"model m: {reason}"):
        bench.launcher.spawn(confined(bench), None)
    (refusal,) = bench.artefacts.boot_events([])[0]
    assert refusal.content["type"] == "refusal"


def test_an_extension_of_several_files_is_refused(bench: Bench, laid: Laid) -> None:
    bench.publish(bench.several("cuda", "a.erofs", "b.erofs", kind="extension"))
    with pytest.raises(RefusedError, match="extension cuda: is several files, which only a model"):
        bench.launcher.spawn(make_unit("u", exec=["/bin/false"], extensions=["cuda"]), None)


def test_a_model_of_many_files_is_one_event_of_the_boot_set(bench: Bench) -> None:
    bench.publish(bench.several("m", *(f"{number}.json" for number in range(200))))
    models, _ = bench.artefacts.boot_events([])
    assert [event.content["type"] for event in models] == ["model"]


def test_what_it_was_denied_is_in_its_log_once_it_is_down(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.publish(bench.entry("m"))
    unit = confined(bench)
    child_of(bench, unit, monkeypatch)
    bench.kernel.deny(os.stat(bench.directory / "cgroup/u").st_ino, 2)
    bench.launcher.confine_no_more(unit)
    assert "denied 2 files" in str(bench.logs.select("u", 1))
    assert bench.kernel.entries(enforcement.ADMITTED) == {}


def test_a_service_is_not_confined(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.kernel.lacks = {"agents"}
    bench.publish(bench.entry("m"))
    child_of(bench, make_unit("u", exec=["/bin/false"], models=["m"]), monkeypatch)


def test_without_enforcement_no_agent_starts_unless_the_machine_says_so(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.kernel.lacks = {"agents"}
    bench.publish(bench.entry("m"))
    with pytest.raises(RefusedError, match=r"no program agents.*without_enforcement = refuse"):
        bench.launcher.spawn(confined(bench), None)
    bench.launcher = bench.make(bench.measurements, without_enforcement="start")
    child_of(bench, confined(bench), monkeypatch)
    assert bench.kernel.maps == {}


def test_descriptors_come_in_the_order_that_their_names_say(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sockets first, then what was stored; models come after and are not counted."""
    bench.publish(bench.entry("m"))
    bench.launcher.inherited = (
        lambda unit: [("varlink", 100), ("web", 101)],
        lambda unit: [],
        lambda unit: [("stored", 102)],
    )
    child = child_of(bench, make_unit("u", exec=["/bin/false"], models=["m"]), monkeypatch)
    assert child.environment["LISTEN_FDS"] == "3"
    assert child.environment["LISTEN_FDNAMES"] == "varlink:web:stored"
    assert list(child.descriptors)[:3] == [100, 101, 102]
    assert len(child.descriptors) == 4
    assert child.environment["AINOS_MODEL_M"] == "/proc/self/fd/6"


def test_who_inherits_nothing_is_told_of_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = child_of(bench, make_unit("u", exec=["/bin/false"]), monkeypatch)
    assert {"LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC"}.isdisjoint(
        child.environment
    )
    assert list(child.descriptors) == []


def test_a_child_gets_what_its_unit_says(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = make_unit(
        "u",
        exec=["/bin/false", "-x"],
        environment={"LANG": "de_DE.UTF-8", "A": "b"},
        directory="/tmp",
        user=65534,
        group="123",
        groups=["7", "8"],
        umask=0o077,
        limits={"nofile": 64},
        nice=5,
        oom_score=300,
        capabilities=["CAP_KILL"],
    )
    child = child_of(bench, unit, monkeypatch)
    assert list(child.argv) == ["/bin/false", "-x"]
    assert dict(child.environment) == {
        "PATH": "/usr/bin:/usr/sbin",
        "HOME": "/",
        "LANG": "de_DE.UTF-8",
        "AINOS_UNIT": "u",
        "A": "b",
    }
    assert (child.directory, child.user, child.group) == ("/tmp", 65534, 123)
    assert (list(child.groups), child.umask, dict(child.limits)) == ([7, 8], 0o077, {"nofile": 64})
    assert (child.nice, child.oom_score, child.capabilities) == (5, 300, ["CAP_KILL"])
    assert child.pid_cell == bench.journal.cell.address


def test_a_user_by_name_has_a_home_and_a_group(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = child_of(bench, make_unit("u", exec=["/bin/false"], user_name="root"), monkeypatch)
    assert (child.user, child.group) == (0, 0)
    assert (child.environment["USER"], child.environment["HOME"]) == ("root", "/root")
    other = make_unit(
        "u", exec=["/bin/false"], user_name="root", environment={"HOME": "/x", "USER": "y"}
    )
    child = child_of(bench, other, monkeypatch)
    assert (child.environment["USER"], child.environment["HOME"]) == ("y", "/x")


@pytest.mark.parametrize(
    "fields",
    [{"user_name": "nobody-of-this-name"}, {"group": "no-group"}, {"groups": ["no-group"]}],
)
def test_a_user_or_group_that_is_not_there_starts_nothing(
    bench: Bench, fields: dict[str, object]
) -> None:
    before = descriptors.at_first()
    with pytest.raises(OSError, match="there is no such"):
        bench.launcher.spawn(make_unit("u", exec=["/bin/false"], **fields), None)
    assert len(descriptors.now() - before) <= 2  # of its lines: their pipe and their ring


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, False),
        ({"type": plan.NOTIFY}, True),
        ({"watchdog": 2.5}, True),
        ({"fd_store_max": 3}, True),
        ({"notify_access": "all"}, True),
    ],
)
def test_who_may_speak_is_told_where(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, fields: dict[str, object], told: bool
) -> None:
    environment = environment_of(bench, make_unit("u", exec=["/bin/false"], **fields), monkeypatch)
    assert environment.get("NOTIFY_SOCKET") == ("/nonexistent" if told else None)
    assert environment.get("WATCHDOG_USEC") == ("2500000" if "watchdog" in fields else None)


def test_a_gpu_brings_its_environment(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = make_unit("u", exec=["/bin/false"], gpu_profile="1g.10gb")
    gpu: dict[str, object] = {"environment": {"CUDA_VISIBLE_DEVICES": "MIG-0"}}
    child = child_of(bench, unit, monkeypatch, gpu)
    assert child.environment["CUDA_VISIBLE_DEVICES"] == "MIG-0"
    child = child_of(bench, unit, monkeypatch, {"environment": 3})
    assert "CUDA_VISIBLE_DEVICES" not in child.environment


def test_what_was_made_for_this_incarnation_is_in_its_environment(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(unit: plan.Unit, environment: dict[str, str]) -> None:
        environment["CREDENTIALS_DIRECTORY"] = f"/run/{unit.name}"

    bench.launcher.prepare = (prepare,)
    environment = environment_of(bench, make_unit("u", exec=["/bin/false"]), monkeypatch)
    assert environment["CREDENTIALS_DIRECTORY"] == "/run/u"


def test_a_bundle_is_where_its_program_is(
    bench: Bench, mounts: Mounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ainit.pid1.artefacts.BUNDLES", str(bench.directory / "bundles"))
    path = bench.directory / "bundle"
    path.write_text("bundle")
    child = child_of(bench, make_unit("u", exec=["bin/run"], bundle=str(path)), monkeypatch)
    assert list(child.argv) == [f"{bench.directory}/bundles/u/bin/run"]
    assert child.directory == f"{bench.directory}/bundles/u"
    assert mounts.done == [("bundle", "u", "erofs")]


def test_a_probe_runs_beside_its_unit_as_its_user_and_leaves_the_cell_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[process.Child] = []

    def spawn(child: process.Child) -> int:
        seen.append(child)
        return 4711

    monkeypatch.setattr("ainit.pid1.launch.process.spawn", spawn)
    unit = make_unit("u", exec=["/bin/false"], user=65534, models=["absent"])
    before = descriptors.at_first()
    assert bench.launcher.probe(unit, ["/bin/true", "-q"]) == 4711
    (child,) = seen
    assert (list(child.argv), child.user, child.pid_cell) == (["/bin/true", "-q"], 65534, 0)
    assert list(child.descriptors) == []
    assert len(descriptors.now() - before) <= 2  # of its lines: their pipe and their ring


def test_what_is_mounted_is_known_to_whoever_takes_over(
    bench: Bench, mounts: Mounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.publish(bench.entry("cuda", kind="extension"))
    unit = make_unit("u", exec=["/bin/false"], extensions=["cuda"])
    environment_of(bench, unit, monkeypatch)
    bench.journal = bench.journal.reopened()
    bench.launcher = bench.make(bench.measurements)
    environment_of(bench, unit, monkeypatch)
    assert len(mounts.done) == 1
