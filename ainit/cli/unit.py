"""``ainitctl unit`` and its short forms ``start``, ``stop`` and ``restart``."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from . import quarantine, render, reply
from .base import Group, Settings
from .status import partition
from .unit_names import complete


def complete_units(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The machine's units for shell completion."""
    return complete(context, incomplete, lambda unit: True)


def _act(settings: Settings, verb: str, names: tuple[str, ...]) -> None:
    for name in names:
        answer = settings.call(f"org.ainos.Control.{verb}", {"name": name})
        if settings.json:
            render.as_json_line(answer)


names_argument = click.argument(
    "names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_units
)


@click.group(cls=Group)
def unit() -> None:
    """Show, start, stop, restart and reload units.

    A unit is a service or an agent that PID 1 supervises. `start`, `stop` and `restart` tell PID 1
    what is wanted and return at once; `ainitctl status` shows how it goes.
    """


@unit.command()
@click.argument("name", shell_complete=complete_units)
@click.pass_obj
def show(settings: Settings, name: str) -> None:
    """Show everything that is known about the unit NAME."""
    answer = settings.call("org.ainos.Control.Describe", {"name": name})
    if settings.json:
        render.as_json(answer)
        return
    found = reply.record(answer, "unit")
    gpu = reply.record(found, "gpu")
    render.facts(
        [
            ("name", found.get("name")),
            ("kind", found.get("kind")),
            ("description", found.get("description")),
            ("state", found.get("state")),
            ("wanted", found.get("desired")),
            ("reason", found.get("reason")),
            *quarantine.facts(reply.record(found, "quarantine")),
            ("essential", "yes" if found.get("essential") else "no"),
            ("pid", found.get("pid")),
            ("restarts", found.get("restarts")),
            ("memory", render.size(found.get("memory_bytes"))),
            ("ready at", render.span(found.get("ready_at"))),
            ("provides", ", ".join(reply.words(found, "provides"))),
            ("models", ", ".join(reply.words(found, "models"))),
            ("gpu", partition(gpu)),
            ("gpu instance", gpu.get("uuid")),
        ]
    )


@unit.command()
@names_argument
@click.pass_obj
def start(settings: Settings, names: tuple[str, ...]) -> None:
    """Start each unit NAME; a unit held as failed gets a fresh set of tries. Needs root."""
    _act(settings, "Start", names)


@unit.command()
@names_argument
@click.pass_obj
def stop(settings: Settings, names: tuple[str, ...]) -> None:
    """Stop each unit NAME, and keep it stopped. Needs root."""
    _act(settings, "Stop", names)


@unit.command()
@names_argument
@click.pass_obj
def restart(settings: Settings, names: tuple[str, ...]) -> None:
    """Stop each unit NAME and start it again. Needs root."""
    _act(settings, "Restart", names)


@unit.command()
@names_argument
@click.pass_obj
def reload(settings: Settings, names: tuple[str, ...]) -> None:
    """Have each unit NAME read its configuration anew, where its file names a reload_signal.

    Needs root.
    """
    _act(settings, "ReloadUnit", names)
