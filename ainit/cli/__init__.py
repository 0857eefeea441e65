"""``ainitctl``: the command line. It talks to the control socket only, and knows no other way in.

One file per noun; a noun's module is imported when the noun is used, because importing is most
of what a short command costs. What every command shares is in ``base``, how results look in
``render``. Exit codes are part of the interface: see ``EXIT_CODES``.

>>> main(["status", "--json"])   # doctest: +SKIP
0
"""

from __future__ import annotations

from collections.abc import Sequence

import click

from .. import __version__
from ..constants import CONTROL
from ..errors import AinosError, ConfigError, DeadlineError, UnavailableError, WireError
from ..wire import protocol
from ..wire.protocol import VarlinkError
from .base import Entry, LazyGroup

__all__ = ["main"]

DONE, REFUSED, USAGE, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 130

EXIT_CODES = """\
Exit codes: 0 done; 1 the system said no, or a check found something; 2 the command line is wrong;
3 nothing usable answers at the control socket; 130 interrupted.
"""

COMMANDS = {
    "status": Entry("status:status", "Health of the machine, boot phases and every unit."),
    "top": Entry("top:top", "What every unit uses: processor, memory, processes, disks."),
    "unit": Entry("unit:unit", "Show, start, stop, restart and reload units."),
    "start": Entry("unit:start", "Start a unit (short for `unit start`)."),
    "stop": Entry("unit:stop", "Stop a unit (short for `unit stop`)."),
    "restart": Entry("unit:restart", "Restart a unit (short for `unit restart`)."),
    "quarantine": Entry("quarantine:quarantine", "Freeze an agent or job and keep the evidence."),
    "logs": Entry("logs:logs", "What units have written, and what they write now."),
    "measurements": Entry("measurements:measurements", "The log of measurements, and the PCRs."),
    "attest": Entry("attest:attest", "Fetch evidence of what runs, and verify it."),
    "remote": Entry("remote:remote", "Your key, and the machines that --host names."),
    "gpu": Entry("gpu:gpu", "GPUs, their partitions and who holds them."),
    "run": Entry("run:run", "Run a program once there is a GPU instance for it."),
    "queue": Entry("job:queue", "Who waits for a GPU instance, and why."),
    "job": Entry("job:job", "Jobs that wait, run, or ended lately; cancel one."),
    "models": Entry("models:models", "Models and policies: admitted, refused, why."),
    "sandbox": Entry("sandbox:sandbox", "What agents may do, in words, and by another manifest."),
    "identity": Entry("identity:identity", "Certificates of agents: until when, and why not."),
    "seal": Entry("seal:seal", "The sealed state: whether it opened, the floor, recovery."),
    "update": Entry("update:update", "Updates: what is offered, install, go back, history."),
    "release": Entry("release:release", "Verify a release and where it is published."),
    "network": Entry("network:network", "Links, addresses, routes and name servers."),
    "devices": Entry("devices:devices", "Devices that the kernel announced."),
    "analyze": Entry("analyze:analyze", "Where the time of the boot went; a picture of it."),
    "crash": Entry("crash:crash", "How earlier boots ended that did not end well."),
    "check": Entry("check:check", "Check unit, manifest and machine files, on any computer."),
    "edit": Entry("edit:edit", "Change the configuration; --dry-run shows what would happen."),
    "call": Entry("call:call", "Call any varlink method of the machine."),
    "shutdown": Entry("power:shutdown", "Stop everything and power off."),
    "reboot": Entry("power:reboot", "Stop everything and start again."),
    "halt": Entry("power:halt", "Stop everything and stand still."),
    "kexec": Entry("power:kexec", "Stop everything and execute the kernel that was loaded."),
    "soft-reboot": Entry("power:soft_reboot", "Begin user space anew; units that survive go on."),
    "reexec": Entry("power:reexec", "Have PID 1 execute itself anew; every unit goes on."),
    "reset": Entry("reset:reset", "Make the machine as it was new, and restart it."),
    "completion": Entry("completion:completion", "Print the completion script of a shell."),
}


@click.group(cls=LazyGroup, entries=COMMANDS, epilog=EXIT_CODES)
@click.version_option(__version__, prog_name="ainitctl", message="%(prog)s %(version)s")
def ainitctl() -> None:
    """See and steer an AINOS machine through its control socket.

    Looking needs no privilege; logs and everything that changes the machine need root. Every
    command takes the global options, before or after its name, and `--json` always gives the
    system's own answer for scripts.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; every known failure is one line on stderr."""
    try:
        code = ainitctl.main(arguments, prog_name="ainitctl", standalone_mode=False)
    except click.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ConfigError as error:
        for finding in error.findings:
            click.echo(str(finding), err=True)
        return REFUSED
    except (AinosError, VarlinkError) as error:
        click.echo(f"ainitctl: {_explain(error)}", err=True)
        return UNREACHABLE if isinstance(error, UnavailableError | WireError) else REFUSED
    return code if isinstance(code, int) else DONE


def _explain(error: AinosError) -> str:
    """What went wrong and what to do next, in one line."""
    match error:
        case VarlinkError():
            return _explain_reply(error)
        case DeadlineError():
            return f"{error}; a longer wait is --timeout SECONDS"
        case UnavailableError():
            hint = (
                f"on an AINOS machine it is {CONTROL}, elsewhere give --socket PATH or --host NAME"
            )
            return f"cannot reach the control socket {error}; {hint}"
        case WireError():
            return f"what answers at the socket does not speak the control protocol: {error}"
    return str(error)


def _explain_reply(error: VarlinkError) -> str:
    def detail(name: str) -> str:
        return str(error.parameters.get(name, "?"))

    match error.name:
        case "org.ainos.Control.NoSuchUnit":
            return f"there is no unit {detail('name')}; `ainitctl status` lists them"
        case "org.ainos.Control.Refused":
            return f"refused: {detail('reason')}"
        case "org.ainos.Control.InvalidConfiguration":
            findings = error.parameters.get("findings")
            listed = "; ".join(map(str, findings)) if isinstance(findings, list) else "?"
            return f"the machine found in the configuration: {listed}"
        case "org.ainos.Control.Unavailable":
            hint = "`ainitctl status` shows what provides it"
            return f"{detail('interface')} does not answer: {detail('reason')}; {hint}"
        case (
            "org.ainos.Gpu.Busy"
            | "org.ainos.Gpu.NoGpu"
            | "org.ainos.Gpu.Failed"
            | "org.ainos.Update.Busy"
            | "org.ainos.Update.Failed"
        ):
            return detail("reason")
        case protocol.PERMISSION_DENIED:
            return "permission denied; this needs root, or over the network another role"
        case protocol.INVALID_PARAMETER:
            return f"the parameter {detail('parameter')} is missing or of the wrong type"
        case protocol.METHOD_NOT_FOUND:
            hint = "this machine's version may be older than this command"
            return f"there is no method {detail('method')}; {hint}"
        case protocol.INTERFACE_NOT_FOUND:
            hint = "no running unit provides it; `ainitctl status` lists the units"
            return f"there is no interface {detail('interface')}: {hint}"
    return f"the system answered {error}"
