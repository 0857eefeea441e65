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
    """A varlink service; Allocate and Release play the GPU service, which has one 2g.20gb."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from ainit.child.server import Service, VarlinkError

    description = f"""interface {interface}
method Echo(text: string) -> (text: string)
method Die() -> ()
method Allocate(agent: string, profile: string) -> (uuid: string, environment: [string]string)
method Release(agent: string) -> ()
method Drop(agent: string) -> ()
"""

    def echo(parameters: dict[str, object]) -> dict[str, object]:
        return {"text": parameters.get("text", "")}

    def die(parameters: dict[str, object]) -> dict[str, object]:
        os._exit(7)

    holders: list[object] = []
    waiting: list[object] = []

    def allocate(parameters: dict[str, object]) -> dict[str, object]:
        agent = parameters["agent"]
        if parameters["profile"] == "2g.20gb":
            if holders and agent not in holders:
                waiting[:] = [*(each for each in waiting if each != agent), agent]
                queued = {"position": 1, "of": 1, "reason": "1 of 1", "retry_s": 60.0}
                raise VarlinkError(f"{interface}.Queued", queued)
            holders[:] = [agent]
        append(journal, f"+{agent}")
        if parameters["profile"] == "7g.80gb":
            raise VarlinkError(f"{interface}.NoRoom", {"profile": "7g.80gb"})
        given = {"CUDA_VISIBLE_DEVICES": "MIG-0", "AINOS_GPU_UUID": "MIG-0"}
        return {"uuid": "MIG-0", "gpu": 0, "environment": given}

    def release(parameters: dict[str, object]) -> dict[str, object]:
        agent = parameters["agent"]
        append(journal, f"-{agent}")
        for names in (holders, waiting):
            names[:] = [each for each in names if each != agent]
        return {"ready": waiting[:1], "move": []}

    def drop(parameters: dict[str, object]) -> dict[str, object]:
        append(journal, f"drop {parameters['agent']}")
        return {}

    methods = {"Echo": echo, "Die": die, "Allocate": allocate, "Release": release, "Drop": drop}
    Service(description, methods).serve()


def puppet(path: str) -> None:
    """Executes Python that it is sent on connections to ``path``; replies with ``answer``."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    Path(path).unlink(missing_ok=True)
    server.bind(path)
    server.listen()
    names = globals()
    while True:
        peer, _ = server.accept()
        with peer:
            source = b"".join(iter(lambda: peer.recv(65536), b""))  # noqa: B023
            names["answer"] = None
            exec(source, names)
            peer.sendall(json.dumps(names["answer"]).encode())


def ready_puppet(path: str) -> None:
    notify(b"READY=1")
    puppet(path)


def store(name: str, *descriptors: int, more: str = "") -> None:
    """Have PID 1 keep descriptors."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect(os.environ["NOTIFY_SOCKET"])
        text = f"FDSTORE=1\nFDNAME={name}\n{more}"
        socket.send_fds(channel, [text.encode()], list(descriptors))


def memory(text: bytes) -> int:
    """A descriptor of memory that holds ``text``."""
    descriptor = os.memfd_create("text")
    os.write(descriptor, text)
    return descriptor


def given() -> dict[str, str]:
    """What was handed over: names, with the first bytes of what can be read there."""
    count = int(os.environ.get("LISTEN_FDS", "0"))
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    found = {}
    for name, descriptor in zip(names, range(3, 3 + count), strict=False):
        try:
            found[name] = os.pread(descriptor, 64, 0).decode()
        except OSError:
            found[name] = ""
    return found


def child(path: str) -> None:
    """Leave a puppet in a session of its own, which PID 1 adopts."""

    def begin() -> None:
        let_go()
        puppet(path)

    detached(begin)


def orphan() -> None:
    """Leave a process that only waits, in a session of its own."""

    def begin() -> None:
        let_go()
        forever_in_background()

    detached(begin)


def let_go() -> None:
    """Of a fork: close what its parent has open, so that nobody takes it for that."""
    os.closerange(3, 256)


def descriptors() -> dict[str, str]:
    """What this process has open."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            pass  # the listing's own
    return found


def identity(*arguments: str) -> None:
    """Prints as JSON what the kernel says that this process is and may."""
    import resource

    umask = os.umask(0)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    limits = {
        name.removeprefix("RLIMIT_").lower(): resource.getrlimit(getattr(resource, name))
        for name in dir(resource)
        if name.startswith("RLIMIT_")
    }
    found = {
        "uid": os.getresuid(),
        "gid": os.getresgid(),
        "groups": sorted(os.getgroups()),
        "umask": umask,
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "directory": os.getcwd(),
        "environment": dict(os.environ),
        "oom_score": int(Path("/proc/self/oom_score_adj").read_text()),
        "status": {key: value.strip() for key, value in status.items()},
        "limits": limits,
        "descriptors": descriptors(),
        "session": os.getsid(0) == os.getpid(),
        "arguments": arguments,
        "cgroup": Path("/proc/self/cgroup").read_text(),
    }
    say(json.dumps(found))


VERBS: dict[str, Callable[..., None]] = {
    "crash": crash,
    "environment": environment,
    "flood": flood,
    "identity": identity,
    "model": model,
    "ordered": ordered,
    "orphans": orphans,
    "pause": pause,
    "provide": provide,
    "puppet": puppet,
    "ready": ready,
    "ready-from-grandchild": ready_from_grandchild,
    "ready-puppet": ready_puppet,
    "speaker": speaker,
    "stubborn": stubborn,
}

if __name__ == "__main__":
    VERBS[sys.argv[1]](*sys.argv[2:])
