"""What every command shares: the global options, their classes, and the lazy group.

A command or a group made with these classes takes ``--socket``, ``--json`` and ``--timeout``
itself, so that they work before and after its name, and finds them in ``ctx.obj``:

    @click.command(cls=Command)
    @click.pass_obj
    def status(settings: Settings) -> None:
        reply = settings.call("org.ainos.Control.Status")
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from ..child.client import Client
from ..constants import CONTROL

SOCKET_VARIABLE, HOST_VARIABLE = "AINITCTL_SOCKET", "AINITCTL_HOST"
FOLDER_VARIABLE = "AINITCTL_FOLDER"
TIMEOUT_SECONDS = 10.0
CHIP_SECONDS = 60.0  # a TPM chip needs seconds for its primary keys


@dataclass
class Settings:
    """The global options; ``ctx.obj`` of every command. ``timeout`` is in seconds, per call. With
    ``host`` the machine of that name is called, not the one at ``socket``.
    """

    socket: str = field(default_factory=lambda: os.environ.get(SOCKET_VARIABLE) or CONTROL)
    host: str = field(default_factory=lambda: os.environ.get(HOST_VARIABLE, ""))
    json: bool = False
    timeout: float = TIMEOUT_SECONDS

    def client(self) -> Client:
        """A connection to the control socket, to be closed by ``with``."""
        return self._connected(self.timeout)

    def call(
        self, method: str, parameters: Mapping[str, object] | None = None
    ) -> dict[str, object]:
        """The reply to one call on a connection of its own."""
        with self.client() as client:
            return client.call(method, parameters)

    def follow(
        self, method: str, parameters: Mapping[str, object] | None = None
    ) -> Iterator[dict[str, object]]:
        """Every reply of a streaming call. Only the user or the system ends it: no deadline."""
        with self._connected(self.timeout) as client:
            client.timeout = None
            yield from client.more(method, parameters)

    def _connected(self, timeout: float) -> Client:
        if not self.host:
            return Client(self.socket, timeout)
        from ..remote.operator import Folder

        return Client(self.host, timeout, Folder(operator_folder()).connect(self.host))


def patient(settings: Settings) -> Settings:
    """The same settings, with the patience that a TPM needs unless another was asked for."""
    if settings.timeout == TIMEOUT_SECONDS:
        settings.timeout = CHIP_SECONDS
    return settings


def operator_folder() -> str:
    """Where an operator's key and the machines that he knows are kept."""
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return os.environ.get(FOLDER_VARIABLE) or os.path.join(base, "ainos")


def _remember(context: click.Context, option: click.Parameter, value: object) -> None:
    settings = context.ensure_object(Settings)
    if value and option.name:
        setattr(settings, option.name, value)


GLOBAL_OPTIONS: tuple[click.Option, ...] = (
    click.Option(
        ["--socket"],
        metavar="PATH",
        callback=_remember,
        expose_value=False,
        help=f"Control socket.  [env: {SOCKET_VARIABLE}; default: {CONTROL}]",
    ),
    click.Option(
        ["--host"],
        metavar="NAME",
        callback=_remember,
        expose_value=False,
        help=f"A machine that `ainitctl remote add` has met.  [env: {HOST_VARIABLE}]",
    ),
    click.Option(
        ["--json"],
        is_flag=True,
        callback=_remember,
        expose_value=False,
        help="Print the system's answer as JSON.",
    ),
    click.Option(
        ["--timeout"],
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        callback=_remember,
        expose_value=False,
        help=f"Longest wait for an answer.  [default: {TIMEOUT_SECONDS:g}]",
    ),
)


class Command(click.Command):
    """A command that takes the global options."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own parameters, then the global ones."""
        return [*super().get_params(ctx), *GLOBAL_OPTIONS]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own options first, and the global ones under a title of their own."""
        records = [
            (parameter in GLOBAL_OPTIONS, record)
            for parameter in self.get_params(ctx)
            if isinstance(parameter, click.Option)
            and (record := parameter.get_help_record(ctx)) is not None
        ]
        for title, shared in (("Options", False), ("Global options", True)):
            with formatter.section(title):
                formatter.write_dl([record for is_shared, record in records if is_shared is shared])
        if isinstance(self, click.Group):
            self.format_commands(ctx, formatter)


class Group(Command, click.Group):
    """A group that takes the global options, as do all commands made with its decorators."""

    command_class = Command
    group_class = type


class Entry(NamedTuple):
    """A command that is not imported yet: ``module:attribute`` under this package, and its help."""

    target: str
    help: str


class LazyGroup(Group):
    """A group whose help and completion come from a table; a command is imported to be run."""

    def __init__(self, *args: Any, entries: Mapping[str, Entry], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.entries = entries

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the table's order, which is the order of the help."""
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command, or None when the table has no such name."""
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        command = getattr(import_module(f"{__package__}.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self.entries.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete names and options without importing anything."""
        found = [
            CompletionItem(name, help=entry.help)
            for name, entry in self.entries.items()
            if name.startswith(incomplete)
        ]
        return found + Command.shell_complete(self, ctx, incomplete) if incomplete else found
