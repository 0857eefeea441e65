"""``ainitctl identity``: the certificates of agents, and what hinders that they are renewed."""

from __future__ import annotations

import click

from ..errors import AinosError
from . import render, reply
from .base import Command, Settings

HEADERS = ("AGENT", "UNTIL", "SERIAL", "IDENTITY")


@click.command(cls=Command)
@click.option("--authority", is_flag=True, help="Print the authority's certificate (PEM) only.")
@click.pass_obj
def identity(settings: Settings, authority: bool) -> None:
    """Show the authority of this machine, its agents' certificates, and until when they are good.

    AUTHORITY is the SHA-256 of its certificate; its key is in the TPM. Certificates are renewed
    while the TPM's PCRs are what was measured and no verifier refused the machine. Exits with 1
    when something hinders that.
    """
    answer = settings.call("org.ainos.Identity.Status")
    hindrances = reply.words(answer, "hindrances")
    if authority:
        click.echo(reply.text(answer, "authority"), nl=False)
        return
    if settings.json:
        render.as_json(answer)
    else:
        life, interval = answer.get("life_s"), answer.get("attest_interval_s")
        needed = "required" if answer.get("verdict_required") is True else "heeded where told"
        render.facts(
            [
                ("trust domain", reply.text(answer, "trust_domain")),
                ("authority", reply.text(answer, "fingerprint") or "not made yet"),
                ("life", f"{life} s; attestation counts for {interval} s"),
                ("verdicts", needed),
            ]
        )
        click.echo()
        names = ("name", "until", "serial", "identity")
        agents = reply.records(answer, "agents")
        render.table(HEADERS, [[reply.text(one, name) for name in names] for one in agents])
    if hindrances:
        raise AinosError(f"nothing is issued: {render.visible('; '.join(hindrances))}")
