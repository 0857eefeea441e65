"""``ainitctl network``: what the network service made of the configuration."""

from __future__ import annotations

import click

from . import render
from .base import Group, Settings


@click.group(cls=Group)
def network() -> None:
    """The network of this machine."""


@network.command()
@click.pass_obj
def status(settings: Settings) -> None:
    """Show links, addresses, routes, name servers and time."""
    answer = settings.call("org.ainos.Network.Status")
    if settings.json:
        render.as_json(answer)
