"""``ainitctl attest``: fetch evidence of what the machine runs, and verify it anywhere.

``verify`` reads a directory and needs no machine: it runs on the verifier's computer.
"""

from __future__ import annotations

import datetime
import os
from typing import TYPE_CHECKING

import click

from . import render, verifier
from .accepted import acceptance_options, accepted, contents
from .base import Group, Settings, patient

if TYPE_CHECKING:
    from ..attest.verdict import Verdict


def _nonce(_context: click.Context, _option: click.Parameter, value: str | None) -> bytes | None:
    if value is None:
        return None
    try:
        nonce = bytes.fromhex(value)
    except ValueError:
        nonce = b""
    if not 16 <= len(nonce) <= 64:
        raise click.BadParameter("give 16 to 64 bytes in hexadecimal")
    return nonce


nonce_option = click.option(
    "--nonce", metavar="HEX", callback=_nonce, help="The nonce to quote, 16 to 64 bytes."
)


@click.group(cls=Group)
def attest() -> None:
    """Fetch evidence of what the machine runs, and verify it.

    `evidence` asks the machine for a quote over a fresh nonce, with both event logs, and has its
    TPM recover a secret that shows quoting key and endorsement key to be in one TPM. `verify`
    judges the result by your policy, or against the values that one build predicts.
    """


@attest.command()
@click.option(
    "--out", "directory", required=True, metavar="DIR", type=click.Path(file_okay=False),
    help="Directory for the evidence files; made when missing.",
)  # fmt: skip
@nonce_option
@click.pass_obj
def evidence(settings: Settings, directory: str, nonce: bytes | None) -> None:
    """Fetch evidence from the machine into DIR.

    The nonce is fresh unless you give one. `credential.json` in DIR keeps the nonce, the secret
    and the machine's answer for `verify`.
    """
    from ..attest.directory import save
    from ..attest.enrol import enrol
    from ..attest.evidence import FILES

    with patient(settings).client() as client:
        enrolment = enrol(client, nonce)
    save(directory, enrolment)
    if settings.json:
        render.as_json({"directory": directory, "nonce": enrolment.nonce.hex()})
        return
    rows = [(name, len(getattr(enrolment.evidence, field))) for field, name in FILES.items()]
    render.table(("FILE", "BYTES"), rows)
    click.echo()
    render.facts([("nonce", enrolment.nonce.hex()), ("directory", directory)])


@attest.command()
@click.argument("directory", metavar="DIR", type=click.Path(exists=True, file_okay=False))
@acceptance_options
@click.option(
    "--register",
    "register_directory",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="Where accepted machines are remembered; made when missing.",
)
@click.option(
    "--machine",
    metavar="NAME",
    help="With --register: which machine this is. Another TPM under its name is refused, and one"
    " whose counters went back.",
)
@nonce_option
@click.pass_context
def verify(
    context: click.Context,
    directory: str,
    policy_file: str | None,
    golden: str | None,
    ek_roots: str | None,
    register_directory: str | None,
    machine: str | None,
    nonce: bytes | None,
) -> None:
    """Verify the evidence in DIR; exit 0 only when there is no finding.

    From DIR alone this shows that one TPM of a trusted manufacturer signed these values, and
    whether they are accepted. That the quote is fresh, and that quoting key and endorsement key
    are in one TPM, is shown only to whoever chose nonce and secret: trust `credential.json` when
    you ran `evidence` yourself and DIR stayed yours; otherwise run `evidence` again.
    """
    from ..attest.directory import load, load_record
    from ..attest.register import Register, judge
    from ..attest.verify import Trust
    from ..attest.verify import verify as verify_alone

    policy, manufacturers = accepted(policy_file, golden, ek_roots)
    if bool(machine) != bool(register_directory):
        raise click.UsageError("--machine and --register go together")
    record = load_record(directory)
    kept_nonce, activation = record or (None, None)
    trust = Trust(
        policy=policy,
        manufacturers=manufacturers,
        now=datetime.datetime.now(datetime.UTC),
        nonce=nonce if nonce is not None else kept_nonce,
        activation=activation,
    )
    evidence = load(directory)
    if register_directory and machine:
        verdict = judge(evidence, trust, Register(register_directory), machine)
    else:
        verdict = verify_alone(evidence, trust)
    if context.ensure_object(Settings).json:
        render.as_json(verdict.as_json())
    else:
        show(verdict, os.path.abspath(directory))
    context.exit(0 if verdict.accepted else 1)


@attest.command("keylime-policy")
@click.argument("manifest", metavar="FILE", type=click.Path(exists=True, dir_okay=False))
def keylime_policy(manifest: str) -> None:
    """Print the tpm_policy for Keylime from the build's manifest.json.

    Give it to `keylime_tenant -c add --tpm_policy "$(ainitctl attest keylime-policy FILE)"`.
    """
    from ..attest.golden import parse_manifest
    from ..keylime.policy import tpm_policy

    render.as_json(tpm_policy(parse_manifest(contents(manifest), manifest)))


def show(verdict: Verdict, title: str) -> None:
    """Print a verdict: PCRs, artefacts, facts, then every finding."""
    facts = verdict.facts
    render.table(
        ("PCR", "PREDICTED", "REPORTED", "MATCH"),
        [
            (
                pcr.pcr,
                _short(pcr.predicted),
                _short(pcr.at_cap or pcr.reported),
                "" if pcr.match is None else "yes" if pcr.match else "NO",
            )
            for pcr in facts.pcrs
        ],
    )
    click.echo()
    render.table(
        ("KIND", "NAME", "STATE", "RECORD", "DIGEST"),
        [
            (
                artefact.kind,
                artefact.name,
                artefact.state.value,
                "" if artefact.record is None else artefact.record,
                artefact.reason or artefact.measured or artefact.predicted or "",
            )
            for artefact in facts.artefacts
        ],
    )
    click.echo()
    render.facts(
        [
            ("evidence", title),
            ("held against", f"image {facts.version}"),
            ("Secure Boot", _word(facts.secure_boot, "on", "off", "unknown")),
            ("endorsement key", f"{facts.ek_issuer}, certificate {_short(facts.ek_fingerprint)}"),
            ("same TPM", _word(facts.activated, "yes, challenged", "NO", "not challenged")),
            ("fresh", _word(facts.fresh, "yes, our nonce", "NO", "not judged: no nonce given")),
        ]
    )
    click.echo()
    for finding in verdict.findings:
        label = click.style(finding.scope.value, fg="red" if not verdict.genuine else "yellow")
        click.echo(f"{label}  {render.visible(finding)}  [{finding.code}]")
    if verdict.accepted:
        click.echo(click.style("accepted", fg="green") + ": genuine, and as built")
    elif verdict.genuine:
        click.echo(click.style("refused", fg="red") + ": genuine evidence of another state")
    else:
        click.echo(click.style("refused", fg="red") + ": the evidence does not hold")


attest.add_command(verifier.serve)
attest.add_command(verifier.submit)


def _short(digest: str | None) -> str:
    return f"{digest[:16]}…" if digest else ""


def _word(value: bool | None, yes: str, no: str, unknown: str) -> str:
    return unknown if value is None else yes if value else no
