"""What commands share that show a table again and again: their options, and how often.

@repeated.options(default=2.0, help="Time between two readings.")
def top(settings: Settings, interval: float, iterations: int | None) -> None:
    live, count = repeated.often(settings, iterations)
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from .base import Settings

INTERVAL_MIN_SECONDS = 1.0  # the machine reads no account more often

_Function = TypeVar("_Function", bound=Callable[..., Any])


def options(*, default: float, help: str) -> Callable[[_Function], _Function]:  # noqa: A002 (click's word)
    """The options ``--interval`` in seconds, and ``--iterations``."""

    def add(function: _Function) -> _Function:
        function = click.option(
            "-n",
            "--iterations",
            type=click.IntRange(min=1),
            metavar="N",
            help="End after so many tables.  [default: at a terminal none, else 1]",
        )(function)
        return click.option(
            "--interval",
            type=click.FloatRange(min=INTERVAL_MIN_SECONDS),
            default=default,
            show_default=True,
            metavar="SECONDS",
            help=help,
        )(function)

    return add


def often(settings: Settings, iterations: int | None) -> tuple[bool, int | None]:
    """Whether the tables replace each other on a terminal, and how many there are; None: no end."""
    live = sys.stdout.isatty() and not settings.json and iterations is None
    return live, iterations or (None if live else 1)
