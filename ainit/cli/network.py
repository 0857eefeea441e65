"""``ainitctl network``: what the network service made of the configuration."""

from __future__ import annotations

import click

from . import render, reply
from .base import Group, Settings

HEADERS = ("INTERFACE", "STATE", "ADDRESSES", "GATEWAYS", "MTU", "MAC", "DETAIL")


@click.group(cls=Group)
def network() -> None:
    """The network of this machine."""


@network.command()
@click.pass_obj
def status(settings: Settings) -> None:
    """Show interfaces, name servers and the clock.

    STATE is `ready`, `asking` (for a lease), `no carrier`, `down`, `failed`, `absent` (configured,
    but not there) or `unmanaged` (there, but not configured). DETAIL is what went wrong, or the
    DHCP lease.
    """
    answer = settings.call("org.ainos.Network.Status")
    if settings.json:
        render.as_json(answer)
        return
    render.table(HEADERS, [_row(one) for one in reply.records(answer, "interfaces")])
    click.echo()
    render.facts(
        [
            ("name servers", ", ".join(reply.words(answer, "dns"))),
            ("search", ", ".join(reply.words(answer, "search"))),
            ("clock", _clock(reply.record(answer, "clock"))),
        ]
    )


def _row(interface: reply.Record) -> tuple[str, ...]:
    return (
        reply.text(interface, "name"),
        reply.text(interface, "state"),
        ", ".join(reply.words(interface, "addresses")),
        ", ".join(reply.words(interface, "gateways")),
        reply.text(interface, "mtu"),
        reply.text(interface, "mac"),
        reply.text(interface, "problem") or _lease(reply.record(interface, "lease")),
    )


def _lease(lease: reply.Record) -> str:
    if lease.get("state") != "bound":
        return reply.text(lease, "state")
    return f"lease from {reply.text(lease, 'server')} for {render.span(lease.get('seconds'))}"


def _clock(clock: reply.Record) -> str:
    offset = clock.get("offset")
    if not clock.get("synchronised") or not isinstance(offset, int | float):
        return reply.text(clock, "problem") or "not compared with any server"
    return f"synchronised with {reply.text(clock, 'server')}, was off by {offset:+.3f} s"
