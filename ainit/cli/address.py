"""``HOST[:PORT]`` on the command line."""

from __future__ import annotations

import re
from collections.abc import Callable

import click

_ADDRESS = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<host>[^:\[\]]+))(?::(?P<port>\d{1,5}))?")


def address(default: int) -> Callable[[click.Context, click.Parameter, str], tuple[str, int]]:
    """A callback that gives host and port, by default this port."""

    def parse(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[str, int]:
        found = _ADDRESS.fullmatch(value)
        port = int(found["port"] or default) if found else 1 << 16
        if not found or port >= 1 << 16:
            raise click.BadParameter("give HOST or HOST:PORT, an IPv6 address in brackets")
        return found["six"] or found["host"], port

    return parse


def shown(host: str, port: int) -> str:
    """An address as it is given."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
