"""``ainitctl remote``: the operator's key, and the machines that he has met."""

from __future__ import annotations

import datetime
import getpass
import re
from typing import TYPE_CHECKING

import click

from ..constants import REMOTE_PORT
from . import render
from .accepted import acceptance_options, accepted
from .address import address, shown
from .base import Group, Settings, operator_folder, patient

if TYPE_CHECKING:
    from ..attest.verdict import Verdict
    from ..remote.operator import Folder, Trusting

_NAME = re.compile(r"[a-z][a-z0-9.-]{0,31}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def _name(_context: click.Context, _option: click.Parameter, value: str | None) -> str:
    if value is None:
        made = re.sub(r"[^a-z0-9.-]", "-", getpass.getuser().lower()).strip("-.0123456789")
        return made[:32] or "operator"
    if not _NAME.fullmatch(value):
        raise click.BadParameter("give lower-case letters, digits, - and ., a letter first")
    return value


def _digest(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    found = None if value is None else value.lower().replace(":", "")
    if found is not None and not _DIGEST.fullmatch(found):
        raise click.BadParameter("give 32 bytes in hexadecimal")
    return found


@click.group(cls=Group)
def remote() -> None:
    """Your key, and the machines that you may steer with --host NAME.

    `key` makes your key and prints what goes into a machine's configuration. `add` has a machine
    attest itself to you before you ever believe it. Both are kept in ~/.config/ainos, or in
    AINITCTL_FOLDER.
    """


@remote.command()
@click.option(
    "--name", metavar="NAME", callback=_name, help="What machines call you.  [default: your user]"
)
@click.option(
    "--role",
    type=click.Choice(["viewer", "operator", "admin"]),
    default="admin",
    show_default=True,
    help="What to ask for: look, start and stop units as well, or everything.",
)
@click.pass_obj
def key(settings: Settings, name: str, role: str) -> None:
    """Make your key unless you have one, and print the lines for machine.toml that let you in."""
    certificate = _folder().make_key(name)
    if settings.json:
        render.as_json({"name": name, "role": role, "certificate": certificate})
        return
    click.echo("# [remote] has listen, too, such as")
    click.echo(f'#   listen = "tcp:0.0.0.0:{REMOTE_PORT}"')
    click.echo(f"[remote.operators.{name}]")
    click.echo(f'role = "{role}"')
    click.echo(f"certificate = '''\n{certificate}'''")


@remote.command()
@click.argument("name")
@click.argument("where", metavar="HOST[:PORT]", callback=address(REMOTE_PORT))
@acceptance_options
@click.option(
    "--ek", metavar="SHA256", callback=_digest,
    help="Which TPM it has: the SHA-256 of its endorsement key's certificate, as the machine's"
    " console or its maker says it. Without this you are shown it and asked.",
)  # fmt: skip
@click.pass_context
def add(
    context: click.Context,
    name: str,
    where: tuple[str, int],
    policy_file: str | None,
    golden: str | None,
    ek_roots: str | None,
    ek: str | None,
) -> None:
    """Attest the machine at HOST and know it as NAME.

    The machine's TPM signs what runs on it, and that the key of this very connection is its own;
    you are told everything that is not accepted. What nobody but you can know is which machine you
    meant: that is the SHA-256 of its TPM's certificate.
    """
    settings = patient(context.ensure_object(Settings))
    folder = _folder()
    trust = _trust(policy_file, golden, ek_roots)
    verdict, host = folder.meet(name, where, trust, settings.timeout)
    if not verdict.accepted:
        _show(settings, verdict, shown(*where))
        context.exit(1)
    if ek is None:
        click.echo(f"TPM of {shown(*where)}: endorsement key certificate, SHA-256\n  {host.ek}")
        click.confirm("Is that the machine you mean?", abort=True)
    elif ek != host.ek:
        raise click.ClickException(f"{shown(*where)} has another TPM: {host.ek}")
    folder.keep(host)
    if settings.json:
        render.as_json({"name": name, "host": where[0], "port": where[1], "ek": host.ek})
    else:
        click.echo(f"{name} is added: try `ainitctl --host {name} status`")


@remote.command()
@click.argument("name")
@acceptance_options
@click.pass_context
def verify(
    context: click.Context,
    name: str,
    policy_file: str | None,
    golden: str | None,
    ek_roots: str | None,
) -> None:
    """Attest a machine that you have met again; exit 0 only when it is accepted.

    That its certificate is the one you know says that it is that machine, and not what runs on it
    now.
    """
    settings = patient(context.ensure_object(Settings))
    trust = _trust(policy_file, golden, ek_roots)
    verdict = _folder().verify(name, trust, settings.timeout)
    _show(settings, verdict, name)
    context.exit(0 if verdict.accepted else 1)


@remote.command("list")
@click.pass_obj
def list_(settings: Settings) -> None:
    """List the machines that you have met."""
    hosts = _folder().hosts()
    if settings.json:
        found = [
            {"name": host.name, "host": host.address, "port": host.port, "ek": host.ek}
            for host in hosts
        ]
        render.as_json({"machines": found})
        return
    rows = [(host.name, shown(host.address, host.port), host.ek) for host in hosts]
    render.table(("NAME", "ADDRESS", "TPM"), rows)


@remote.command()
@click.argument("name")
def remove(name: str) -> None:
    """Know a machine no longer."""
    _folder().forget(name)


def _trust(policy_file: str | None, golden: str | None, ek_roots: str | None) -> Trusting:
    from ..attest.verify import Trust

    policy, manufacturers = accepted(policy_file, golden, ek_roots)
    now = datetime.datetime.now(datetime.UTC)
    return lambda nonce: Trust(policy, manufacturers, now, nonce, None)


def _show(settings: Settings, verdict: Verdict, title: str) -> None:
    from .attest import show

    if settings.json:
        render.as_json(verdict.as_json())
    else:
        show(verdict, title)


def _folder() -> Folder:
    from ..remote.operator import Folder

    return Folder(operator_folder())
