"""``ainitctl gpu``: devices, their partitions, and how they came about."""

from __future__ import annotations

import click

from . import render, reply
from .base import Group, Settings


@click.group(cls=Group)
def gpu() -> None:
    """GPUs of this machine, partitioned with MIG."""


@gpu.command()
@click.pass_obj
def status(settings: Settings) -> None:
    """Show devices, MIG instances with their holders, the policy and its last decisions."""
    answer = settings.call("org.ainos.Gpu.Status")
    if settings.json:
        render.as_json(answer)
