"""``ainitctl seal``: whether the TPM opened the state, what changed if not, and recovery."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ..child.client import VarlinkError
from ..errors import AinosError
from ..wire.codec import loads
from . import render, reply
from .base import Group, Settings, patient


@click.group(cls=Group)
def seal() -> None:
    """The state partition, under a key that the TPM gives out to an approved image only.

    An image is approved by a signature over what it will have in PCRs 9, 11 and 12, so an update
    needs no new sealing. The Secure Boot keys (PCR 7) are bound to as they are: when they change,
    the recovery key opens the state.
    """


@seal.command()
@click.option(
    "--for",
    "image",
    type=click.Path(exists=True, path_type=Path),
    metavar="PATH",
    help="Say whether that release would open the state: its directory, its manifest.json, or "
    "the .seal.json beside its image.",
)
@click.pass_obj
def status(settings: Settings, image: Path | None) -> None:
    """Say whether the state is open, at which floor, and if it is locked, what changed.

    The FLOOR is the lowest generation of images that may open the state. It rises when an update
    was confirmed, as far as every image on the boot partition can follow. Exits with 1 when the
    state is locked, or would be.
    """
    if image is not None:
        _predict(settings, image)
        return
    answer = _status(settings)
    if settings.json:
        render.as_json(answer)
    else:
        _show(answer)
    if answer.get("state") == "locked":
        raise AinosError("the state is locked; `ainitctl seal recover` takes the recovery key")


@seal.command()
@click.pass_obj
def recover(settings: Settings) -> None:
    """Open a locked state with the recovery key, and seal it anew.

    The key is asked for, or read from standard input. The machine goes on with `ainitctl
    soft-reboot`; after `ainitctl reboot` it opens by itself again, and can be attested.
    """
    _told(settings, "Recover")
    if not settings.json:
        click.echo("`ainitctl reboot` goes on, or at once `ainitctl soft-reboot`")


@seal.command()
@click.pass_obj
def reseal(settings: Settings) -> None:
    """Seal the state anew, to the image that runs and the firmware as it is.

    Needs the recovery key: once the machine has begun to measure, the TPM gives the key out to
    nobody. An image below the floor opens the state again after this.
    """
    _told(settings, "Reseal")


@seal.command("recovery-key")
@click.pass_obj
def recovery_key(settings: Settings) -> None:
    """Print the recovery key, for the only time.

    It was made with the state, and waits in it, where only this machine can read it. It is not
    kept once it was printed: write it down where the machine is not.
    """
    answer = settings.call("org.ainos.Seal.RecoveryKey")
    if settings.json:
        render.as_json(answer)
        return
    click.echo(reply.text(answer, "key"))


def _status(settings: Settings) -> reply.Record:
    """The service's answer; where nothing is sealed it does not run."""
    try:
        return settings.call("org.ainos.Seal.Status")
    except VarlinkError as error:
        if error.parameters.get("reason") != "seal is inactive":
            raise
        return {"state": "plain: it is not sealed"}


def _told(settings: Settings, method: str) -> None:
    key: str = click.prompt("Recovery key", hide_input=sys.stdin.isatty(), err=True)
    answer = patient(settings).call(f"org.ainos.Seal.{method}", {"key": key})
    if settings.json:
        render.as_json(answer)
        return
    click.echo(reply.text(answer, "note"))


def _predict(settings: Settings, image: Path) -> None:
    approval = _approval(image)
    answer = settings.call("org.ainos.Seal.Predict", {"approval": approval})
    if settings.json:
        render.as_json(answer)
    else:
        version = approval.get("version", "?")
        click.echo(f"{version} {'opens' if answer.get('opens') else 'would not open'} the state")
        _lines(answer, "findings")
    if not answer.get("opens"):
        raise AinosError("after an update to it the state would be locked")


def _approval(image: Path) -> reply.Record:
    """What a release says of itself. Raises AinosError."""
    path = image / "manifest.json" if image.is_dir() else image
    try:
        record = loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise AinosError(f"{path}: {error}") from error
    if isinstance(record, dict) and isinstance(record.get("seal"), dict):
        record = record["seal"]
    if not isinstance(record, dict) or "signatures" not in record:
        raise AinosError(f"{path} says nothing about sealing: the release was not approved")
    return record


def _show(answer: reply.Record) -> None:
    state = reply.text(answer, "state")
    click.echo(f"state       {state}{_on(answer)}")
    if not state.startswith("plain"):
        image = reply.text(answer, "version") or "not approved"
        click.echo(f"image       {image}, generation {answer.get('generation')}")
        sealed = ", ".join(reply.words(answer, "floors")) or "none"
        click.echo(f"floor       {answer.get('floor')}; sealed for {sealed}")
    if answer.get("recovery_waits"):
        click.echo("recovery    nobody has fetched the key: `ainitctl seal recovery-key`")
    _lines(answer, "findings")
    _lines(answer, "notes")


def _on(answer: reply.Record) -> str:
    device = reply.text(answer, "device")
    return f" ({device})" if device else ""


def _lines(answer: reply.Record, field: str) -> None:
    for line in reply.words(answer, field):
        click.echo(f"  {render.visible(line)}")
