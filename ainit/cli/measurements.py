"""``ainitctl measurements``: what was measured into the TPM, in order."""

from __future__ import annotations

import click

from . import render, reply
from .base import Command, Settings

HEADERS = ("#", "PCR", "TYPE", "NAME", "DIGEST")


@click.command(cls=Command)
@click.pass_obj
def measurements(settings: Settings) -> None:
    """Show the log of measurements and the PCRs as the TPM reports them.

    PCR 12 holds the machine configuration, 13 models and policies, 14 agents. DIGEST is what was
    measured, the file's fs-verity digest; for a refusal it is the reason. `cap` ends the boot
    set of its PCR. The records are the TCG canonical event log; `--json` shows them whole.
    """
    answer = settings.call("org.ainos.Control.Measurements")
    if settings.json:
        render.as_json(answer)
        return
    rows = []
    for entry in reply.records(answer, "records"):
        content = reply.record(entry, "content")
        rows.append(
            (
                reply.text(entry, "recnum"),
                reply.text(entry, "pcr"),
                reply.text(content, "type"),
                reply.text(content, "name"),
                reply.text(content, "digest") or reply.text(content, "reason"),
            )
        )
    render.table(HEADERS, rows)
    click.echo()
    render.facts((f"PCR {name}", value) for name, value in reply.record(answer, "pcrs").items())
