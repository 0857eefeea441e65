"""``ainitctl shutdown`` and ``ainitctl reboot``."""

from __future__ import annotations

import click

from . import render
from .base import Command, Settings


def _end(settings: Settings, verb: str) -> None:
    answer = settings.call(f"org.ainos.Control.{verb}")
    if settings.json:
        render.as_json(answer)


@click.command(cls=Command)
@click.pass_obj
def shutdown(settings: Settings) -> None:
    """Stop every unit in order, unmount, and power off. Needs root; asks nothing."""
    _end(settings, "Shutdown")


@click.command(cls=Command)
@click.pass_obj
def reboot(settings: Settings) -> None:
    """Stop every unit in order, unmount, and start again. Needs root; asks nothing."""
    _end(settings, "Reboot")
