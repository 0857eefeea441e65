"""What a verifier accepts, as the options of a command name it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from ..attest.acceptance import Policy

Command = TypeVar("Command", bound=Callable[..., object])

_OPTIONS = (
    click.option(
        "--policy",
        "policy_file",
        metavar="FILE",
        type=click.Path(exists=True, dir_okay=False),
        help="What is accepted: images, manufacturers, and what may be measured besides.",
    ),
    click.option(
        "--golden",
        metavar="FILE",
        type=click.Path(exists=True, dir_okay=False),
        help="In place of a policy: the build's manifest.json, and nothing besides.",
    ),
    click.option(
        "--ek-roots",
        metavar="FILE",
        type=click.Path(exists=True, dir_okay=False),
        help="With --golden: certificates of trusted TPM manufacturers (PEM).",
    ),
)


def acceptance_options(command: Command) -> Command:
    """The options ``policy_file``, ``golden`` and ``ek_roots``."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def accepted(
    policy_file: str | None, golden: str | None, ek_roots: str | None
) -> tuple[Policy, bytes]:
    """The policy, and the certificates of manufacturers, that the options name."""
    from ..attest import policy_file as files
    from ..attest.acceptance import Policy
    from ..attest.golden import parse_manifest

    if policy_file and not golden and not ek_roots:
        folder = os.path.dirname(os.path.abspath(policy_file))
        found = files.load(
            contents(policy_file).decode("utf-8", "replace"),
            policy_file,
            lambda name: contents(os.path.join(folder, name)),
        )
        return found.policy, found.manufacturers
    if golden and ek_roots and not policy_file:
        return Policy((parse_manifest(contents(golden), golden),)), contents(ek_roots)
    raise click.UsageError("give --policy, or --golden and --ek-roots")


def contents(path: str) -> bytes:
    """The bytes of a file."""
    with open(path, "rb") as file:
        return file.read()
