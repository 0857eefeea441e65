"""``ainitctl call``: any method of the machine, by its full name."""

from __future__ import annotations

import click

from ..wire import codec
from . import render
from .base import Command, Settings


@click.command(cls=Command)
@click.argument("method")
@click.argument("parameters", default="{}", metavar="[JSON]")
@click.option("--more", is_flag=True, help="Ask for a stream of answers; print one a line.")
@click.pass_obj
def call(settings: Settings, method: str, parameters: str, more: bool) -> None:
    """Call the varlink METHOD with the object JSON and print the answer as JSON.

    METHOD is a full name such as `org.ainos.Control.Status`. Every service and agent that
    provides an interface is reached the same way. `org.varlink.service.GetInfo` lists the
    interfaces, and `org.varlink.service.GetInterfaceDescription` describes one:

    \b
      ainitctl call org.varlink.service.GetInterfaceDescription '{"interface": "org.ainos.Gpu"}'
    """
    if "." not in method:
        raise click.BadParameter("a full name is needed, such as org.ainos.Control.Status")
    try:
        decoded = codec.loads(parameters)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint="JSON") from error
    if not isinstance(decoded, dict):
        raise click.BadParameter('an object is needed, such as {"name": "gpu"}', param_hint="JSON")
    if more:
        for answer in settings.follow(method, decoded):
            render.as_json_line(answer)
    else:
        render.as_json(settings.call(method, decoded))
