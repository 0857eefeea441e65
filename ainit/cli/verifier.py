"""``ainitctl attest serve`` and ``submit``: a verifier over HTTPS, and asking one."""

from __future__ import annotations

import re

import click

from . import render
from .accepted import acceptance_options, accepted
from .base import TIMEOUT_SECONDS, Command, Settings
from .reply import records, text

EVIDENCE_SECONDS = 60.0  # a TPM chip needs seconds for its primary keys
PORT = 8443
_ADDRESS = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<host>[^:\[\]]+))(?::(?P<port>\d{1,5}))?")
_FILE = click.Path(exists=True, dir_okay=False)


def patient(settings: Settings) -> Settings:
    """The same settings, with the patience that a TPM needs unless another was asked for."""
    if settings.timeout == TIMEOUT_SECONDS:
        settings.timeout = EVIDENCE_SECONDS
    return settings


def _address(_context: click.Context, _option: click.Parameter, value: str) -> tuple[str, int]:
    found = _ADDRESS.fullmatch(value)
    port = int(found["port"] or PORT) if found else 1 << 16
    if not found or port >= 1 << 16:
        raise click.BadParameter("give HOST or HOST:PORT, an IPv6 address in brackets")
    return found["six"] or found["host"], port


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@click.command(cls=Command)
@acceptance_options
@click.option(
    "--register", "directory", required=True, metavar="DIR", type=click.Path(file_okay=False),
    help="Where nonces and accepted machines are remembered; made when missing.",
)  # fmt: skip
@click.option(
    "--listen", default=f"127.0.0.1:{PORT}", show_default=True, metavar="HOST[:PORT]",
    callback=_address, help="Where to listen.",
)  # fmt: skip
@click.option(
    "--certificate", required=True, metavar="FILE", type=_FILE, help="The verifier's own (PEM)."
)
@click.option("--key", required=True, metavar="FILE", type=_FILE, help="Its private key (PEM).")
@click.option(
    "--clients", required=True, metavar="FILE", type=_FILE,
    help="Authorities whose certificates let a client ask (PEM).",
)  # fmt: skip
def serve(
    policy_file: str | None,
    golden: str | None,
    ek_roots: str | None,
    directory: str,
    listen: tuple[str, int],
    certificate: str,
    key: str,
    clients: str,
) -> None:
    """Verify evidence for whoever has a client's certificate, over HTTPS, until interrupted.

    Nonces are good once and for five minutes. The policy is read anew for each verdict; a policy
    that cannot be read accepts nobody.
    """
    import socket

    from ..attest.register import Register
    from ..attest.server import Server, context
    from ..attest.verifier import Verifier

    accepted(policy_file, golden, ek_roots)  # what is wrong is said now
    made = context(certificate, key, clients)
    verifier = Verifier(lambda: accepted(policy_file, golden, ek_roots), Register(directory))
    with socket.create_server(
        listen, family=socket.AF_INET6 if ":" in listen[0] else socket.AF_INET
    ) as listener:
        click.echo(f"verifying at https://{_shown(*listener.getsockname()[:2])}")
        Server(listener, made, verifier).serve_forever()


@click.command(cls=Command)
@click.option(
    "--verifier", "address", required=True, metavar="HOST[:PORT]", callback=_address,
    help="Where the verifier listens.",
)  # fmt: skip
@click.option("--machine", required=True, metavar="NAME", help="Which machine this is.")
@click.option(
    "--certificate", required=True, metavar="FILE", type=_FILE, help="The client's own (PEM)."
)
@click.option("--key", required=True, metavar="FILE", type=_FILE, help="Its private key (PEM).")
@click.option(
    "--authority", required=True, metavar="FILE", type=_FILE,
    help="The authority that issued the verifier's certificate (PEM).",
)  # fmt: skip
@click.pass_context
def submit(
    context: click.Context,
    address: tuple[str, int],
    machine: str,
    certificate: str,
    key: str,
    authority: str,
) -> None:
    """Have a verifier judge the machine; exit 0 only when it is accepted.

    This command carries the conversation between the machine's control socket and the verifier,
    which believes nothing that it says.
    """
    from ..attest.server import client_context
    from ..attest.submit import Https
    from ..attest.submit import submit as carry

    settings = patient(context.ensure_object(Settings))
    verifier = Https(*address, client_context(certificate, key, authority), settings.timeout)
    with settings.client() as client:
        verdict = carry(client, verifier, machine)
    is_accepted = verdict.get("accepted") is True
    if settings.json:
        render.as_json(verdict)
    else:
        for finding in records(verdict, "findings"):
            said = render.visible(f"{text(finding, 'subject')}: {text(finding, 'message')}")
            click.echo(f"{text(finding, 'scope')}  {said}  [{text(finding, 'code')}]")
        word, colour = ("accepted", "green") if is_accepted else ("refused", "red")
        click.echo(f"{machine}: {click.style(word, fg=colour)} by {_shown(*address)}")
    context.exit(0 if is_accepted else 1)
