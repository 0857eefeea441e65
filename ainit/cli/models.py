"""``ainitctl models``: what the store admitted and refused; fetch, verify and remove models."""

from __future__ import annotations

import time
from collections.abc import Mapping

import click

from ..errors import AinosError
from . import render, reply
from .base import Group, Settings

POLL_SECONDS = 0.5
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


@models.command()
@click.argument("source")
@click.pass_obj
def add(settings: Settings, source: str) -> None:
    """Fetch a model from SOURCE and admit it.

    SOURCE is a directory on the machine or an http:// or https:// address; it holds record.json,
    model.sig and the model file. The signature is judged before the file is fetched. What came
    before an interruption is gone on with when you add the same SOURCE again. Units that name the
    model use it from their next start on.
    """
    _follow(settings, "Add", {"source": source})


@models.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.pass_obj
def verify(settings: Settings, names: tuple[str, ...]) -> None:
    """Read models completely and verify their signatures again; all of them without a NAME.

    At boot a large model is known by the digest that the kernel holds it to, and is not read. Here
    every page is.
    """
    if not names:
        answer = settings.call("org.ainos.Store.Models")
        names = tuple(reply.text(model, "name") for model in reply.records(answer, "models"))
    for name in names:
        _follow(settings, "Verify", {"name": name})


@models.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.pass_obj
def remove(settings: Settings, names: tuple[str, ...]) -> None:
    """Forget models. `gc` frees their room.

    A unit that runs keeps the model that it has open; one that needs it is refused at its next
    start.
    """
    for name in names:
        settings.call("org.ainos.Store.Remove", {"name": name})


@models.command()
@click.pass_obj
def gc(settings: Settings) -> None:
    """Remove what no name stands for any more, and say how much room that made."""
    answer = settings.call("org.ainos.Store.Collect")
    if settings.json:
        render.as_json(answer)
        return
    click.echo(f"{reply.text(answer, 'objects')} objects, {render.size(answer.get('bytes'))}")


def _follow(settings: Settings, method: str, parameters: Mapping[str, object]) -> None:
    """Start a job and show how far it is until it is finished. Raises AinosError when it failed."""
    job = reply.record(settings.call(f"org.ainos.Store.{method}", parameters), "job")
    number = job.get("id")
    with render.progress(reply.text(job, "what")) as update:
        while not job.get("finished"):
            update(job.get("done"), job.get("total"))
            time.sleep(POLL_SECONDS)
            job = reply.record(settings.call("org.ainos.Store.Job"), "job")
            if job.get("id") != number:
                raise AinosError("the store went on to something else: `ainitctl models list`")
        update(job.get("done"), job.get("total"))
    if settings.json:
        render.as_json_line(job)
    if why := reply.text(job, "reason"):
        raise AinosError(f"{reply.text(job, 'what')}: {why}")
