"""Who approves images, and a machine whose state is sealed, for the tests of sealing."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from ainit.linux.luks import Volume
from ainit.seal import policies, recovery
from ainit.seal.approval import Approval, approve
from ainit.seal.chip import Chip
from ainit.seal.decide import Decision, Sealed, decide, raised
from ainit.seal.report import LOCKED, Report
from ainit.seal.vault import LABEL, Vault, records
from tests.unit.attest.swtpm import Swtpm

_SIZE = 32 << 20


class Approver:
    """The holder of a policy key."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        numbers = self._key.public_key().public_numbers()
        self.point = (numbers.x, numbers.y)

    def sign(self, data: bytes) -> tuple[int, int]:
        """ECDSA with SHA-256."""
        return utils.decode_dss_signature(self._key.sign(data, ec.ECDSA(hashes.SHA256())))

    def approve(self, generation: int, pcrs: Mapping[int, bytes], version: str = "") -> Approval:
        """The approval of the image that has these PCRs."""
        return approve(version or f"0.{generation}", generation, self.point, pcrs, self.sign)


def seal(chip: Chip, secret: bytes, point: tuple[int, int], floor: int, most: int) -> Sealed:
    """The secret, sealed as the machine does it: to PCR 7 as it is."""
    bound = chip.tpm.read((7,))
    counter = policies.public_name(policies.counter_area())
    key = policies.public_name(policies.key_area(*point))
    policy = policies.sealing_policy(key, floor, counter, most, bound)
    return Sealed(floor, most, point, bound, chip.seal(secret, policy))


class SealedMachine:
    """A TPM, a header, and whatever images were approved."""

    RECOVERY = recovery.text(bytes(range(32)))

    def __init__(self, tpm: Swtpm, device: Path) -> None:
        self.tpm = tpm
        self.device = str(device)
        self.approvals: list[Approval] = []
        self.generation = 0
        self.approver = Approver()

    def boot(self, generation: int, *, keys: str = "ours") -> None:
        """Switch it on with the image of a generation, on firmware with these keys."""
        self.tpm.power_off()
        self.tpm.power_on()
        self.generation = generation
        parts = {7: keys, 9: "line", 11: f"image {generation}"}
        for pcr, text in parts.items():
            self.tpm.tpm().extend(pcr, sha256(text.encode()).digest())

    def approve(self) -> Approval:
        """Approve the image that runs."""
        word = self.approver.approve(self.generation, self.tpm.tpm().read((9, 11, 12)))
        if word.pcrs not in [each.pcrs for each in self.approvals]:
            self.approvals.append(word)
        return word

    def begin(self) -> bytes:
        """Make the header anew."""
        with open(self.device, "wb") as file:
            file.truncate(_SIZE)
        with Volume(self.device) as volume, Chip(self.tpm.tpm()) as chip:
            volume.format(LABEL)
            return Vault(volume, chip).begin(self.RECOVERY.encode(), self.approve())

    def decide(self) -> Decision:
        with Volume(self.device) as volume, Chip(self.tpm.tpm()) as chip:
            volume.load()
            sealed = [record for _, record in records(volume).values()]
            values = self.tpm.tpm().read((7, 9, 11, 12))
            return decide(sealed, self.approvals, values, chip.counter())

    def open(self) -> bytes:
        """Open it as at boot, and keep it up."""
        decision = self.decide()
        with Volume(self.device) as volume, Chip(self.tpm.tpm()) as chip:
            volume.load()
            vault = Vault(volume, chip)
            secret = vault.open(decision)
            volume.slot_of(secret)
            vault.keep_up(decision, secret)
            return secret

    def floors(self) -> list[int]:
        with Volume(self.device) as volume:
            volume.load()
            return sorted(record.floor for _, record in records(volume).values())

    def commit(self, *fallback: Approval) -> int:
        """Raise the floor as far as the image and what it falls back to can follow."""
        with Volume(self.device) as volume, Chip(self.tpm.tpm()) as chip:
            volume.load()
            sealed = [record for _, record in records(volume).values()]
            base = sealed[0].base
            counter = chip.counter()
            assert counter is not None
            known = {f"{word.generation}.efi": word for word in (self.approve(), *fallback)}
            floor, _ = raised(sealed, known, counter - base)
            chip.raise_counter(base + floor)
            return floor

    def report(self) -> Report:
        approvals = {f"{word.version}.seal.json": word for word in self.approvals}
        values = self.tpm.tpm().read((7, 9, 11, 12))
        floor = self.decide().floor
        return Report(self.device, LOCKED, floor, pcrs=values, approvals=approvals)
