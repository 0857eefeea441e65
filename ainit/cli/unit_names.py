"""Names of units, for a shell that completes them."""

from __future__ import annotations

from collections.abc import Callable

import click
from click.shell_completion import CompletionItem

from ..errors import AinosError
from . import reply
from .base import Settings

COMPLETION_SECONDS = 1.0


def complete(
    context: click.Context, incomplete: str, wanted: Callable[[reply.Record], bool]
) -> list[CompletionItem]:
    """The machine's units that are wanted; silent when the machine does not answer soon."""
    settings = context.ensure_object(Settings)
    settings.timeout = COMPLETION_SECONDS
    try:
        units = reply.records(settings.call("org.ainos.Control.Status"), "units")
    except AinosError:
        return []
    return [
        CompletionItem(name, help=reply.text(unit, "description"))
        for unit in units
        if wanted(unit) and (name := reply.text(unit, "name")).startswith(incomplete)
    ]
