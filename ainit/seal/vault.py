"""The header of the state partition: what is sealed in it, opened, kept up and sealed anew.

The header holds key slots and tokens. Slot and token belong together: a token is one sealed record
for one floor, and what the TPM gives out for it opens the token's slot. The recovery key has a slot
without a token.

    with Chip(Tpm()) as chip, Volume(device) as volume:
        volume.load()
        vault = Vault(volume, chip)
        secret = vault.open(decision)
"""

from __future__ import annotations

import os

from ..errors import RefusedError, TpmError
from ..linux.luks import Volume
from . import policies
from .approval import Approval
from .chip import Chip
from .decide import BOUND, Decision, Sealed, ahead, grant

LABEL = "ainos-state"
UNFINISHED = "ainos-unfinished"  # nobody has used it: it may be made anew
_KIND = "ainos-tpm2"
_SECRET_BYTES = 32


def records(volume: Volume) -> dict[int, tuple[int, Sealed]]:
    """What is sealed in a header: slot and record by the token's number."""
    found = {}
    for number, token in volume.tokens(_KIND):
        try:
            slots = token["keyslots"]
            assert isinstance(slots, list)  # the library has checked it
            found[number] = (int(slots[0]), Sealed.from_record(token))
        except (KeyError, TypeError, ValueError, IndexError):
            continue  # of another version, perhaps: it opens nothing
    return found


class Vault:
    """A header and the TPM that it is sealed to. Raises TpmError, LuksError and RefusedError."""

    def __init__(self, volume: Volume, chip: Chip) -> None:
        self._volume = volume
        self._chip = chip

    def open(self, decision: Decision) -> bytes:
        """The secret of the first record that opens. Raises TpmError when none does."""
        tried: list[str] = []
        for choice in decision.choices:
            try:
                return self._chip.unseal(choice.sealed.blob, choice.grant)
            except TpmError as error:
                tried.append(f"floor {choice.sealed.floor}: {error}")
        raise TpmError(f"the TPM does not give the key out: {'; '.join(tried)}")

    def begin(self, recovery: bytes, approval: Approval) -> bytes:
        """Slots and records of a header that was written just now; returns the secret."""
        secret = os.urandom(_SECRET_BYTES)
        slot = self._volume.add_first(secret)
        self._volume.add(secret, recovery)
        base = self._chip.make_counter() - approval.generation
        record = self._sealed(secret, approval, approval.generation, base)
        self._prove(record, secret, approval)
        self._volume.add_token(_KIND, slot, record.to_record())
        return secret

    def keep_up(self, decision: Decision, secret: bytes) -> list[str]:
        """Seal for the floors that this image may be raised to, and drop what opens no more.

        The floor itself is raised by one command to the TPM, later: then everything is there.
        """
        approval = decision.approval
        if approval is None:
            raise ValueError("nothing opened without an approval")
        known = records(self._volume)
        counter = self._chip.counter() or 0
        sealed = [record for _, record in known.values()]
        base = decision.choices[0].sealed.base
        slot = self._volume.slot_of(secret)
        said = []
        for floor in ahead(sealed, approval, decision.floor):
            new = self._sealed(secret, approval, floor, base)
            self._prove(new, secret, approval)
            self._volume.add_token(_KIND, slot, new.to_record())
            said.append(f"sealed for floor {floor}")
        for number, (_, record) in known.items():
            if record.most < counter:
                self._volume.drop_token(number)
                said.append(f"dropped floor {record.floor}, which the TPM has passed")
        return said

    def renew(self, recovery: bytes, approval: Approval, floor: int) -> int:
        """Seal anew for this image on this firmware, by the owner's word; returns the floor.

        The floor stays where it is unless it is above the image: then the owner has said that this
        image may open. A new secret takes the place of the old ones once it is there.
        """
        floor = min(floor or approval.generation, approval.generation)
        if floor not in approval.signatures:
            raise RefusedError(f"{approval.version} is signed for no floor that there could be")
        kept = self._volume.slot_of(recovery)
        old = records(self._volume)
        secret = os.urandom(_SECRET_BYTES)
        slot = self._volume.add(recovery, secret)
        counter = self._chip.make_counter()
        for each in ahead([], approval, floor):
            record = self._sealed(secret, approval, each, counter - floor)
            self._volume.add_token(_KIND, slot, record.to_record())
        for number in old:
            self._volume.drop_token(number)
        for each in {slot for slot, _ in old.values()} - {kept}:
            self._volume.drop(each)
        return floor

    def _sealed(self, secret: bytes, approval: Approval, floor: int, base: int) -> Sealed:
        bound = self._chip.tpm.read(BOUND)
        key = policies.public_name(policies.key_area(*approval.key))
        counter = policies.public_name(policies.counter_area())
        policy = policies.sealing_policy(key, floor, counter, base + floor, bound)
        return Sealed(floor, base + floor, approval.key, bound, self._chip.seal(secret, policy))

    def _prove(self, record: Sealed, secret: bytes, approval: Approval) -> None:
        """Open what was sealed just now: a floor that this image cannot open is never raised to.

        Only before the machine measures anything of its own. Raises TpmError.
        """
        if self._chip.unseal(record.blob, grant(record, approval)) != secret:
            raise TpmError("the TPM gave out something else than was sealed")
