"""``ainitctl models``: what the store admitted, and what it refused."""

from __future__ import annotations

import click

from . import render, reply
from .base import Group, Settings

HEADERS = ("NAME", "KIND", "STATE", "DIGEST", "SIGNER", "REASON")


@click.group(cls=Group)
def models() -> None:
    """Models and policies of this machine.

    A model is used only after its signature was verified and its digest measured. `ainitctl
    measurements` shows the measurements.
    """


@models.command("list")
@click.pass_obj
def list_(settings: Settings) -> None:
    """List every model and policy as this boot verified it.

    STATE is `admitted`, or `refused` with the reason. DIGEST is the fs-verity digest that the
    kernel enforces at every read, and that PCR 13 holds; SIGNER names the publisher's key.
    """
    answer = settings.call("org.ainos.Store.Models")
    if settings.json:
        render.as_json(answer)
        return
    fields = ("name", "kind", "state", "digest", "signer", "reason")
    rows = [
        tuple(reply.text(model, field) for field in fields)
        for model in reply.records(answer, "models")
    ]
    render.table(HEADERS, rows)
