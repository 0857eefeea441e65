"""What the services of the pidns tests do. ``python3 -I actor.py VERB [ARGUMENT...]``.

Standard library only (and ``ainit.child`` for the varlink verbs), so that a start costs little.
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def notify(state: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(state, os.environ["NOTIFY_SOCKET"])


def forever() -> None:
    while True:
        signal.pause()


def detached(action: Callable[[], None]) -> None:
    """Run ``action`` in a grandchild with a session of its own; the child between them is gone."""
    if (child := os.fork()) == 0:
        os.setsid()
        if os.fork() == 0:
            action()
            os._exit(0)
        os._exit(0)
    os.waitpid(child, 0)


def ready() -> None:
    notify(b"STATUS=starting")
    notify(b"READY=1")
    forever()


def speaker() -> None:
    """Says something of everything whenever it gets SIGUSR1."""

    def speak(number: int, frame: object) -> None:
        notify(b"STATUS=spoken")
        notify(b"READY=1")
        notify(b"WATCHDOG=1")
        notify(b"EXTEND_TIMEOUT_USEC=1000000")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.connect(os.environ["NOTIFY_SOCKET"])
            socket.send_fds(channel, [b"FDSTORE=1\nFDNAME=null"], [0])
        notify(b"FDSTOREREMOVE=1\nFDNAME=null")

    signal.signal(signal.SIGUSR1, speak)
    notify(b"READY=1")
    forever()


def ready_from_grandchild() -> None:
    detached(ready)
    forever()


def pause() -> None:
    say("paused")
    forever()


def crash() -> None:
    say("about to fail")
    sys.exit(3)


def stubborn() -> None:
    """Ignores SIGTERM, and so does the detached grandchild that it leaves."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    detached(forever_in_background)
    say("armed")
    forever()


def forever_in_background() -> None:
    say("grandchild armed")
    forever()


def orphans(count: str) -> None:
    for _ in range(int(count)):
        detached(lambda: None)
    say("orphaned")
    forever()


def flood() -> None:
    line = b"x" * 200 + b"\n"
    while True:
        os.write(1, line * 100)


def ordered(path: str, name: str) -> None:
    """Writes ``+name`` when it starts and ``-name`` when it is asked to stop."""

    def stop(number: int, frame: object) -> None:
        append(path, f"-{name}")
        os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    append(path, f"+{name}")
    if "NOTIFY_SOCKET" in os.environ:
        notify(b"READY=1")
        forever()


def append(path: str, text: str) -> None:
    with open(path, "a", encoding="ascii") as file:
        file.write(text + "\n")


def environment() -> None:
    say(json.dumps(dict(os.environ)))
    forever()


def model(variable: str) -> None:
    """Prints the content of the model that was handed over, read through its descriptor."""
    path = os.environ.get(variable)
    say("no model" if path is None else Path(path).read_text(encoding="utf-8"))
    forever()


def provide(interface: str, journal: str) -> None:
    """A varlink service; Allocate and Release play the GPU service."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from ainit.child.server import Service, VarlinkError

    description = f"""interface {interface}
method Echo(text: string) -> (text: string)
method Die() -> ()
method Allocate(agent: string, profile: string) -> (uuid: string, environment: [string]string)
method Release(agent: string) -> ()
"""

    def echo(parameters: dict[str, object]) -> dict[str, object]:
        return {"text": parameters.get("text", "")}

    def die(parameters: dict[str, object]) -> dict[str, object]:
        os._exit(7)

    def allocate(parameters: dict[str, object]) -> dict[str, object]:
        append(journal, f"+{parameters['agent']}")
        if parameters["profile"] == "7g.80gb":
            raise VarlinkError(f"{interface}.NoRoom", {"profile": "7g.80gb"})
        given = {"CUDA_VISIBLE_DEVICES": "MIG-0", "AINOS_GPU_UUID": "MIG-0"}
        return {"uuid": "MIG-0", "gpu": 0, "environment": given}

    def release(parameters: dict[str, object]) -> dict[str, object]:
        append(journal, f"-{parameters['agent']}")
        return {}

    methods = {"Echo": echo, "Die": die, "Allocate": allocate, "Release": release}
    Service(description, methods).serve()


VERBS: dict[str, Callable[..., None]] = {
    "crash": crash,
    "environment": environment,
    "flood": flood,
    "model": model,
    "ordered": ordered,
    "orphans": orphans,
    "pause": pause,
    "provide": provide,
    "ready": ready,
    "ready-from-grandchild": ready_from_grandchild,
    "speaker": speaker,
    "stubborn": stubborn,
}

if __name__ == "__main__":
    VERBS[sys.argv[1]](*sys.argv[2:])
