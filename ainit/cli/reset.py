"""``ainitctl reset``: the machine as it was new."""

from __future__ import annotations

import click

from ..errors import RefusedError
from . import render, reply
from .base import Command, Settings, patient


@click.command(cls=Command)
@click.option("--yes", metavar="NAME", help="The machine's name, said beforehand.")
@click.option("--keep-models", is_flag=True, help="Models and policies stay.")
@click.option("--keep-config", is_flag=True, help="The machine's own configuration stays.")
@click.pass_obj
def reset(settings: Settings, yes: str | None, *, keep_models: bool, keep_config: bool) -> None:
    """Make the machine as it was new, and restart it. Needs root; asks for the machine's name.

    Everything on its state is lost: models, configuration, logs, keys, certificates. A sealed state
    cannot be kept in part: its keys are destroyed at once, and it is made and sealed anew at the
    next boot. Of a state that lies open the files are removed then; who has the disk may find
    remains of them.
    """
    machine = settings.call("org.ainos.Control.Status").get("machine")
    name = reply.text(machine, "hostname") if isinstance(machine, dict) else ""
    if yes is None:
        yes = click.prompt(f"Everything on {name} is lost. To go on, type its name", err=True)
    if yes != name:
        raise RefusedError(f"{yes!r} is not the name of this machine, {name!r}")
    kept = {"models": keep_models, "config": keep_config}
    keep = [word for word, wanted in kept.items() if wanted]
    answer = patient(settings).call("org.ainos.Control.Reset", {"name": name, "keep": keep})
    settings.call("org.ainos.Control.Reboot")
    if settings.json:
        render.as_json(answer)
    else:
        click.echo(reply.text(answer, "note"))
