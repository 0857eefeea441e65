"""A model is exchanged under a unit that serves: the store's trial on a whole PID 1."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ainit.store.service import Library
from ainit.store.trial import Units
from tests.pidns.machine import Machine
from tests.support.store import FakeCover, Publisher, deliver, onnx, store
from tests.support.wait import wait_for

PUBLISHER = Publisher()
GOOD, BAD = onnx(b"better weights"), onnx(b"bad weights")
# Ends between two requests when it is told to; answers each with its model's last bytes. One of bad
# weights is never ready.
DAEMON = """
import os, select, signal, socket, sys, time
content = open(os.environ["AINOS_MODEL_SPEECH"], "rb").read()
if b"bad" in content:
    sys.exit("these weights are bad")
told, tell = os.pipe()
os.set_blocking(tell, False)
signal.set_wakeup_fd(tell)
signal.signal(signal.SIGTERM, lambda *_: None)
server = socket.socket(fileno=3)
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
while True:
    ready = select.select([server, told], [], [])[0]
    if told in ready:
        break
    peer, _ = server.accept()
    peer.sendall(b"better" if b"better" in content else b"first")
    peer.close()
"""


class Client:
    """Calls all the time. ``answers`` are what came, ``lost`` what did not."""

    def __init__(self, path: Path) -> None:
        self._path, self._over = path, threading.Event()
        self.answers: list[bytes] = []
        self.lost: list[str] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                with socket.socket(socket.AF_UNIX) as client:
                    client.settimeout(60)
                    client.connect(str(self._path))
                    answer = client.recv(64)
                if answer:
                    self.answers.append(answer)
                else:
                    self.lost.append("closed without an answer")
            except OSError as error:
                self.lost.append(str(error))

    def more(self) -> None:
        """Wait until it was answered once more."""
        before = len(self.answers)
        wait_for(lambda: len(self.answers) > before or self.lost, "another answer")

    def close(self) -> None:
        self._over.set()
        self._thread.join()


class Bench:
    """A machine with a store, a model, and a daemon that is activated by its socket."""

    def __init__(self, machine: Machine, cover: FakeCover) -> None:
        self.machine, self.root = machine, machine.directory / "models"
        self.cover = cover
        words = json.dumps(["/usr/bin/python3", "-I", "-c", DAEMON])
        (machine.directory / "units/speaker.toml").write_text(
            f"[service]\nexec = {words}\ntype = 'notify'\nmodels = ['speech']\n"
            f"stop_timeout_s = 30\nstart_timeout_s = 60\n"
            f"[[socket]]\nlisten = 'unix:{self.path}'\n[activation]\non_demand = true\n"
        )
        deliver(self.root, PUBLISHER)
        found = store(self.root, cover, PUBLISHER)
        self.library = Library(found, found.run(), self.publish, Units(ask=self.ask))
        self.publish(self.library.models())

    @property
    def path(self) -> Path:
        return self.machine.directory / "speaker"

    def publish(self, models: Mapping[str, object]) -> None:
        path = self.machine.directory / "run/admitted"
        path.with_suffix(".new").write_text(json.dumps(models))
        path.with_suffix(".new").rename(path.with_suffix(".json"))

    def ask(self, method: str, parameters: Mapping[str, object]) -> Mapping[str, object]:
        return self.machine.call(method, **parameters)

    def begin(self, content: bytes, hold_s: float) -> None:
        source = deliver(self.machine.directory / "elsewhere", PUBLISHER, content=content)
        self.library.methods()["Add"]({"source": str(source), "hold_s": hold_s})

    def job(self) -> Mapping[str, Any]:
        def over() -> Mapping[str, Any] | None:
            job: Any = self.library.methods()["Job"]({})["job"]
            return job if job["finished"] else None

        found = wait_for(over, "the trial")
        assert found is not None
        return found

    def measured(self) -> list[str]:
        """The digests of the model that PID 1 measured, in order."""
        records: Any = self.machine.call("Measurements")["records"]
        return [
            record["content"]["digest"]
            for record in records
            if record["content"].get("name") == "speech"
        ]


@pytest.fixture
def bench(machine: Machine) -> Iterator[Bench]:
    cover = FakeCover()
    machine.tpm()
    made = Bench(machine, cover)
    machine.boot()
    yield made
    cover.close()


@pytest.fixture
def client(bench: Bench) -> Iterator[Client]:
    made = Client(bench.path)
    try:
        made.more()
        yield made
    finally:
        made.close()


def test_no_request_is_lost_when_a_model_is_exchanged(bench: Bench, client: Client) -> None:
    old = bench.measured()
    bench.begin(GOOD, 0.5)
    assert bench.job()["reason"] == ""
    client.more()
    client.close()
    assert client.lost == []
    assert (client.answers[0], client.answers[-1]) == (b"first", b"better")
    models: Any = bench.library.models()["models"]
    assert bench.measured() == [*old, models[0]["digest"]]


def test_a_model_that_is_never_ready_goes_back_and_no_request_is_lost(
    bench: Bench, client: Client
) -> None:
    bench.begin(BAD, 0.5)
    reason = bench.job()["reason"]
    assert reason == "speaker is not ready with it: exited with status 1"
    bench.machine.wait_state("speaker", "ready")
    client.more()
    client.close()
    assert client.lost == []
    assert set(client.answers) == {b"first"}
    models: Any = bench.library.models()["models"]
    assert (models[0]["state"], reason in models[0]["reason"]) == ("admitted", True)


@pytest.mark.parametrize("fatal", [False, True])
def test_pid_1_begins_anew_in_the_middle_of_a_trial(
    bench: Bench, client: Client, fatal: bool
) -> None:
    first = bench.machine.pid("speaker")
    bench.begin(GOOD, 2.0)
    wait_for(lambda: bench.machine.describe("speaker")["pid"] not in (first, None), "the trial")
    if fatal:
        os.kill(bench.machine.init_host_pid, signal.SIGSEGV)
    else:
        bench.machine.call("Reexec")
    assert bench.job()["reason"] == ""
    client.more()
    client.close()
    assert client.lost == []
    assert client.answers[-1] == b"better"
    machine: Any = bench.machine.call("Status")["machine"]
    assert machine["faults"] == int(fatal)
