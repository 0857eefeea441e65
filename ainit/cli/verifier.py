"""``ainitctl attest serve`` and ``submit``: a verifier over HTTPS, and asking one."""

from __future__ import annotations

from collections.abc import Mapping

import click

from ..child.client import Client, VarlinkError
from ..wire.protocol import INTERFACE_NOT_FOUND
from . import render
from .accepted import acceptance_options, accepted
from .address import address, shown
from .base import Command, Settings, patient
from .reply import records, text

PORT = 8443
_VERDICT = "org.ainos.Identity.Verdict"
_UNAVAILABLE = "org.ainos.Control.Unavailable"
_FILE = click.Path(exists=True, dir_okay=False)


@click.command(cls=Command)
@acceptance_options
@click.option(
    "--register", "directory", required=True, metavar="DIR", type=click.Path(file_okay=False),
    help="Where nonces and accepted machines are remembered; made when missing.",
)  # fmt: skip
@click.option(
    "--listen", default=f"127.0.0.1:{PORT}", show_default=True, metavar="HOST[:PORT]",
    callback=address(PORT), help="Where to listen.",
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
    from ..attest.server import Server
    from ..attest.verifier import Verifier
    from ..child import tls

    accepted(policy_file, golden, ek_roots)  # what is wrong is said now
    made = tls.server(certificate, key, tls.authorities(clients))
    verifier = Verifier(lambda: accepted(policy_file, golden, ek_roots), Register(directory))
    with socket.create_server(
        listen, family=socket.AF_INET6 if ":" in listen[0] else socket.AF_INET
    ) as listener:
        click.echo(f"verifying at https://{shown(*listener.getsockname()[:2])}")
        Server(listener, made, verifier).serve_forever()


@click.command(cls=Command)
@click.option(
    "--verifier", "where", required=True, metavar="HOST[:PORT]", callback=address(PORT),
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
    where: tuple[str, int],
    machine: str,
    certificate: str,
    key: str,
    authority: str,
) -> None:
    """Have a verifier judge the machine; exit 0 only when it is accepted.

    This command carries the conversation between the machine, with `--host` one on the network,
    and the verifier, which believes nothing that it says.
    """
    from ..attest.submit import Https
    from ..attest.submit import submit as carry
    from ..child import tls

    settings = patient(context.ensure_object(Settings))
    trusted = tls.client(certificate, key, tls.authorities(authority))
    verifier = Https(*where, trusted, settings.timeout)
    with settings.client() as client:
        verdict = carry(client, verifier, machine)
        is_accepted = verdict.get("accepted") is True
        _tell(client, verdict, is_accepted)
    if settings.json:
        render.as_json(verdict)
    else:
        for finding in records(verdict, "findings"):
            said = render.visible(f"{text(finding, 'subject')}: {text(finding, 'message')}")
            click.echo(f"{text(finding, 'scope')}  {said}  [{text(finding, 'code')}]")
        word, colour = ("accepted", "green") if is_accepted else ("refused", "red")
        click.echo(f"{machine}: {click.style(word, fg=colour)} by {shown(*where)}")
    context.exit(0 if is_accepted else 1)


def _tell(client: Client, verdict: Mapping[str, object], is_accepted: bool) -> None:
    """Tell the machine what was said of it: its agents may have certificates."""
    subjects = [text(finding, "subject") for finding in records(verdict, "findings")]
    try:
        client.call(_VERDICT, {"accepted": is_accepted, "reason": ", ".join(subjects)})
    except VarlinkError as error:
        if error.name not in (_UNAVAILABLE, INTERFACE_NOT_FOUND):
            click.echo(f"ainitctl: the machine was not told: {error}", err=True)
