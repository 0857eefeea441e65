"""``ainitctl shutdown``, ``reboot``, ``halt``, ``kexec``, ``soft-reboot`` and ``reexec``."""

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


@click.command(cls=Command)
@click.pass_obj
def halt(settings: Settings) -> None:
    """Stop every unit in order, unmount, and stand still with the power on. Needs root."""
    _end(settings, "Halt")


@click.command(cls=Command)
@click.pass_obj
def kexec(settings: Settings) -> None:
    """Stop every unit in order, and execute the kernel that was loaded for it. Needs root.

    Refused when no kernel was loaded (kexec_file_load(2)). The firmware measures nothing on this
    way: until a cold boot, the machine's PCRs 4 and 11 speak of the old kernel.
    """
    _end(settings, "Kexec")


@click.command(cls=Command)
@click.pass_obj
def soft_reboot(settings: Settings) -> None:
    """Stop every unit but those that survive, and begin user space anew. Needs root.

    The kernel stays, and so do units with `survives = true`, with their processes and sockets.
    """
    _end(settings, "SoftReboot")


@click.command(cls=Command)
@click.pass_obj
def reexec(settings: Settings) -> None:
    """Have PID 1 execute itself anew, in place: every unit goes on. Needs root.

    It is how PID 1 survives its own faults, and how another version of it takes over.
    """
    _end(settings, "Reexec")
