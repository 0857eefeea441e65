"""``ainitctl release``: releases as a repository publishes them, looked at from outside."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import AinosError
from ..ota.release import CHANNELS
from . import render
from .base import Group, Settings

if TYPE_CHECKING:
    from .released import Seen

_ELSEWHERE = "this computer lacks python-tuf, which `scripts/setup run` installs in build/venv"


@click.group(cls=Group)
def release() -> None:
    """Releases, and the repository that publishes them."""


@release.command()
@click.argument("where", metavar="DIRECTORY|URL")
@click.option(
    "--root",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The root that you trust, from elsewhere.",
)
@click.option(
    "--channel",
    type=click.Choice(CHANNELS),
    default=CHANNELS[0],
    show_default=True,
    help="Whose newest release.",
)
@click.option(
    "--image",
    default="base-x86_64",
    show_default=True,
    metavar="VARIANT-ARCH",
    help="What the release is for.",
)
@click.option("--version", "number", default="", metavar="V", help="Not the newest but this one.")
@click.option(
    "--builder",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The public key that must have signed the provenance, PEM.",
)
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    help="Remember here what was seen, and refuse what is older.",
)
@click.pass_obj
def verify(
    settings: Settings, where: str, root: Path | None, channel: str, image: str, number: str,
    builder: Path | None, state: Path | None,
) -> None:  # fmt: skip
    """Verify a release as a machine would that trusts one root, and whatever lies with it.

    Signatures, thresholds, expiry and digests by TUF; then that manifest, golden PCR values, bill
    of materials and provenance are those of its files. Without --root the repository's own first
    root is believed, which shows that a release is whole and not whose it is.
    """
    try:
        from . import released
    except ImportError as error:
        raise AinosError(_ELSEWHERE) from error
    trusted = _trusted(where, root)
    key = builder.read_bytes() if builder else None
    with (
        tempfile.TemporaryDirectory(prefix="ainos-release-") as forgotten,
        released.Reader(where, trusted, state or Path(forgotten), settings.timeout) as reader,
    ):
        seen = reader.verify(channel, image, number, key)
    if settings.json:
        render.as_json(_record(seen))
        return
    fingerprint = released.digest(trusted)
    click.echo(f"root        {fingerprint[:32]}…, {'given' if root else 'the one found there'}")
    for line in _lines(seen, signed=builder is not None):
        click.echo(render.visible(line))


def _trusted(where: str, root: Path | None) -> bytes:
    path = root or Path(where) / "metadata" / "1.root.json"
    try:
        return path.read_bytes()
    except OSError as error:
        hint = "" if root else "; --root names the one that you trust"
        raise AinosError(f"{path}: {error.strerror}{hint}") from error


def _lines(seen: Seen, *, signed: bool) -> list[str]:
    of = seen.release
    whose = "signed by the key that was given" if signed else "its signature was not looked at"
    return [
        f"release     {of.image} {of.version}",
        f"floors      version {of.version_floor}, data format {of.data_format_floor}",
        f"files       {len(of.files)}, {seen.size / (1 << 20):.1f} MiB, each as it was signed",
        f"golden      PCRs {', '.join(seen.pcrs)}",
        f"source      {seen.source}",
        f"builder     {seen.builder}; {whose}",
    ]


def _record(seen: Seen) -> dict[str, object]:
    files = {name: file.sha256 for name, file in sorted(seen.release.files.items())}
    return {
        **seen.release.facts(),
        "files": files,
        "size": seen.size,
        "pcrs": dict(seen.pcrs),
        "source": seen.source,
        "builder": seen.builder,
    }
