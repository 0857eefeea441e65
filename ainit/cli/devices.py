"""``ainitctl devices``: devices as the kernel announced them."""

from __future__ import annotations

import click

from . import render
from .base import Group, Settings


@click.group(cls=Group)
def devices() -> None:
    """Devices of this machine."""


@devices.command("list")
@click.pass_obj
def list_(settings: Settings) -> None:
    """List devices, and the hotplug events since boot."""
    answer = settings.call("org.ainos.Devices.List")
    if settings.json:
        render.as_json(answer)
