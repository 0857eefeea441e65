"""For how many machines a release is: the custom metadata of the newest one of a channel.

Machines draw a number each, from their identity and the version (``ainit.ota.decide``), and take
what is for more of a hundred than that.

    change(repository, "stable", "base-x86_64", 50)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ainit.ota.model_release import is_model
from ainit.ota.release import ROLLOUT, newest
from lib.host import HostError, exclusive

if TYPE_CHECKING:
    from lib.release_repository import Repository


def change(repository: Repository, channel: str, image: str, percent: int) -> str:
    """Say for how many machines of a hundred a channel's newest release is; returns its version.

    Raises HostError.
    """
    check(percent)
    if is_model(image):
        raise HostError(f"{image} is asked for by name: it has no share of the machines")
    name = newest(channel, image)
    with exclusive("release"):
        if not repository.begun or name not in repository.targets(channel).targets:
            raise HostError(f"{channel} has no release of {image}")
        with repository.edit_targets(channel) as role:
            pointer = role.targets[name]
            pointer.unrecognized_fields["custom"] = custom(pointer.custom, percent)
        repository.do_snapshot()
        repository.do_timestamp()
    return str(pointer.custom["version"])


def check(percent: int) -> None:
    """Raise HostError for what is no percentage."""
    if not 0 <= percent <= 100:
        raise HostError(f"a rollout of {percent} %: it is between 0 and 100")


def custom(facts: Mapping[str, Any], rollout: int) -> dict[str, Any]:
    """The custom metadata of a target with these facts."""
    found = {name: value for name, value in facts.items() if name != ROLLOUT}
    return found if rollout == 100 else {**found, ROLLOUT: rollout}
