"""``ainitctl devices``: what the kernel announced."""

from __future__ import annotations

import click

from . import render, reply
from .base import Group, Settings

DEVICES = ("KIND", "NAME", "PROPERTIES", "PATH")
EVENTS = ("TIME", "ACTION", "KIND", "NAME")


@click.group(cls=Group)
def devices() -> None:
    """GPUs, disks and network interfaces of this machine."""


@devices.command("list")
@click.option("--events", is_flag=True, help="Show what came and went since boot, too.")
@click.pass_obj
def list_(settings: Settings, events: bool) -> None:
    """List devices, and with --events what came and went, in seconds since boot."""
    answer = settings.call("org.ainos.Devices.List")
    if settings.json:
        render.as_json(answer)
        return
    render.table(DEVICES, [_device(device) for device in reply.records(answer, "devices")])
    driver = reply.record(answer, "driver")
    words = (reply.text(driver, key) for key in ("state", "version", "reason"))
    click.echo(f"NVIDIA driver: {' '.join(word for word in words if word)}")
    for problem in reply.words(answer, "problems"):
        click.echo(f"module: {problem}")
    if not events:
        return
    click.echo()
    dropped = answer.get("dropped")
    if isinstance(dropped, int) and dropped:
        click.echo(f"ainitctl: {dropped} older events are no longer kept", err=True)
    render.table(EVENTS, [_event(event) for event in reply.records(answer, "events")])


def _device(device: reply.Record) -> tuple[str, ...]:
    properties = sorted(reply.record(device, "properties").items())
    return (
        reply.text(device, "kind"),
        reply.text(device, "name"),
        " ".join(f"{name}={value}" for name, value in properties),
        reply.text(device, "path"),
    )


def _event(event: reply.Record) -> tuple[str, ...]:
    at = event.get("time")
    return (
        f"{at:.3f}" if isinstance(at, int | float) else "",
        reply.text(event, "action"),
        reply.text(event, "kind"),
        reply.text(event, "name"),
    )
