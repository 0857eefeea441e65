"""``ainitctl models``: what the store admitted and refused; fetch, verify and remove models."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

import click

from ..errors import AinosError
from ..linux import fsverity
from ..policy import model_files
from . import render, reply
from .base import Group, Settings
from .update import follow

POLL_SECONDS = 0.5
RELEASED = "update:"  # a source that is a release in the repository of updates
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
    kernel enforces at every read, and that PCR 13 holds; that of a model of several files is one
    over the names and digests of all. SIGNER names the publisher's key.
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
@click.option(
    "--hold",
    "hold_s",
    type=click.FloatRange(0, 3600),
    metavar="SECONDS",
    help="Start the units that use its predecessor anew with it, and admit it only when they get "
    "ready and stay so for SECONDS; else they go back.",
)
@click.pass_obj
def add(settings: Settings, source: str, hold_s: float | None) -> None:
    """Fetch a model from SOURCE and admit it.

    SOURCE is a directory on the machine, usb:LABEL/PATH for a directory on the USB disk with this
    label, or an http:// or https:// address; it holds record.json, model.sig and the model's file
    or files. The signature is judged before these are fetched. Or SOURCE is update:NAME[@VERSION]:
    the newest release of the model NAME in the channel that updates come from, or this release.
    What came before an interruption is gone on with when you add the same SOURCE again. Units that
    name the model use it from their next start on.
    """
    trial = {} if hold_s is None else {"hold_s": hold_s}
    if not source.startswith(RELEASED):
        _follow(settings, "Add", {"source": source, **trial})
        return
    name, at, version = source.removeprefix(RELEASED).partition("@")
    which = {"name": name, "version": version} if at else {"name": name}
    follow(settings, "AddModel", {**which, **trial})


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


@models.command()
@click.argument(
    "files",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False),
)
def digest(files: tuple[str, ...]) -> None:
    """Print the digest that a model of these files has, from any copy of them.

    It is what `list` shows and a verifier's policy names. Asks no machine. Give all files of the
    model, but neither record.json nor model.sig.
    """
    found: dict[str, tuple[int, str]] = {}
    for path in files:
        name = os.path.basename(path)
        if not model_files.is_file(name) or name in found:
            raise AinosError(f"{path}: {name} is given twice or is no name of a model's file")
        found[name] = os.path.getsize(path), fsverity.text(fsverity.digest_file(path))
    click.echo(model_files.digest(found))


def _follow(settings: Settings, method: str, parameters: Mapping[str, object]) -> None:
    """Start a job of the store and show how far it is until it is finished. Raises AinosError when
    it failed.
    """
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
