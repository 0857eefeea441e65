"""What PCRs 4, 7, 9 and 11 will hold after our chain has booted, from the artefacts alone.

Each PCR is a list of events, in the order in which the firmware, systemd-boot, systemd-stub and
the kernel's EFI stub extend them; `fold` makes the value. The rules come from the TCG PC Client
Platform Firmware Profile (revision 1.06, sections 3.3.4 and 10.4) and from the sources of EDK II
and systemd 257. PCRs 0-3, 5 and 6 describe the machine, not the image, and are not predicted; 12-14
are ainit's: `predict_boot_set` folds them with `ainit.policy.phases`, as the machine itself does.

A boot that took another way (a loader tried twice, a menu entry, a key not ours) differs here.

    predict_boot(loader=…, uki=…, variables=…, authority=…)[11].hex()
"""

from __future__ import annotations

import hashlib
import struct
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lib.host import HostError

from ainit.ota.pe import Image, ImageError
from ainit.policy import phases
from ainit.policy.phases import ZERO, fold

GLOBAL = uuid.UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")  # EFI_GLOBAL_VARIABLE
SECURITY = uuid.UUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f")  # EFI_IMAGE_SECURITY_DATABASE
# What decides whom the firmware trusts, in the order in which it is measured.
POLICY_VARIABLES = (
    ("SecureBoot", GLOBAL),
    ("PK", GLOBAL),
    ("KEK", GLOBAL),
    ("db", SECURITY),
    ("dbx", SECURITY),
)
SEPARATOR = bytes(4)
BOOT_ACTION = b"Calling EFI Application from Boot Option"
# systemd-stub measures these sections, those that are there, in this order, each name before its
# contents (src/fundamental/uki.c). Signatures over PCR 11 (.pcrsig) cannot be part of it.
STUB_SECTIONS = (
    *(".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat"),
    *(".pcrpkey", ".profile"),
)
# Which of these the stub takes, and measures, depends on the machine.
MACHINE_SECTIONS = frozenset({".dtbauto", ".hwids", ".efifw"})


def predict_boot(
    *, loader: bytes, uki: bytes, variables: Mapping[str, bytes], authority: bytes
) -> dict[int, bytes]:
    """The PCRs after the boot of ``uki`` by ``loader``, both signed, to the kernel's entry.

    ``variables`` holds the firmware's variable store by name; ``authority`` is the db certificate
    (DER) that both signatures lead to. Raises HostError when the artefacts cannot boot like that.
    """
    try:
        images = [Image(loader), Image(uki)]
    except ImageError as error:
        raise HostError(str(error)) from error
    if not all(image.is_signed for image in images):
        raise HostError("the loader and the UKI must be signed: Secure Boot starts nothing else")
    events = {
        4: loader_events(images),
        7: policy_events(variables, authority),
        9: kernel_events(images[-1].sections),
        11: stub_events(images[-1].sections),
    }
    return {pcr: extend(digests) for pcr, digests in events.items()}


def predict_boot_set(manifest: Mapping[str, Any]) -> dict[int, bytes]:
    """PCRs 12-14 once the boot set is closed, from a build manifest's artefacts.

    Read are ``machine_config`` (digest), ``models`` (name, kind, digest) and ``agents`` (name,
    digest). Raises HostError when one of them is malformed.
    """
    try:
        events = phases.boot_set(
            _measured(phases.MACHINE_CONFIG, {"name": "machine", **manifest["machine_config"]}),
            [_measured(model["kind"], model) for model in manifest["models"]],
            [_measured(phases.AGENT, agent) for agent in manifest["agents"]],
        )
    except (KeyError, TypeError) as error:
        raise HostError(f"the manifest does not describe a boot set: {error!r}") from error
    values = phases.predict(events)
    return {pcr: values[pcr] for pcr in phases.CAPPED}


def _measured(kind: str, artefact: Mapping[str, str]) -> phases.Event:
    return phases.measured(kind, artefact["name"], artefact["digest"])


def extend(digests: Iterable[bytes]) -> bytes:
    """Extend a PCR from zero."""
    value = ZERO
    for digest in digests:
        value = fold(value, digest)
    return value


def loader_events(images: Sequence[Image]) -> list[bytes]:
    """PCR 4: the boot manager's action, the separator, then each image that was started.

    The kernel inside the UKI is none of them: the stub starts it without the firmware's help.
    """
    return [_sha256(BOOT_ACTION), _sha256(SEPARATOR), *(image.authenticode() for image in images)]


def policy_events(variables: Mapping[str, bytes], authority: bytes) -> list[bytes]:
    """PCR 7: the Secure Boot variables, the separator, then the db entry that vouched for us.

    One entry serves both images, and an entry is measured once per boot.
    """
    if variables.get("SecureBootEnable") != b"\1":
        raise HostError("Secure Boot is off in the variable store")
    measured = policy_variables(variables)
    vouching = variable_data("db", SECURITY, signature_entry(variables.get("db", b""), authority))
    return [*map(_sha256, measured), _sha256(SEPARATOR), _sha256(vouching)]


def policy_variables(variables: Mapping[str, bytes]) -> list[bytes]:
    """UEFI_VARIABLE_DATA of what decides whom the firmware trusts, in the order of measuring."""
    # The firmware derives SecureBoot at every start from SecureBootEnable and PK.
    state = {**variables, "SecureBoot": b"\1"}
    return [variable_data(name, owner, state.get(name, b"")) for name, owner in POLICY_VARIABLES]


def predict_variables(variables: Mapping[str, bytes]) -> dict[str, bytes]:
    """The digest of each variable of PCR 7, so that a verifier can name the one that differs."""
    events = policy_variables(variables)
    return {name: _sha256(data) for (name, _), data in zip(POLICY_VARIABLES, events, strict=True)}


def kernel_events(sections: Mapping[str, bytes]) -> list[bytes]:
    """PCR 9: the command line that the kernel was given. A foreign initrd would show here."""
    if ".initrd" in sections:
        raise HostError("the UKI holds an initrd; this product boots without one")
    return [_sha256(sections[".cmdline"].decode().encode("utf-16-le") + b"\0\0")]


def stub_events(sections: Mapping[str, bytes]) -> list[bytes]:
    """PCR 11: name (with its NUL) and contents of every section of the UKI that counts."""
    if missing := {".linux", ".cmdline"} - sections.keys():
        raise HostError(f"the UKI has no {' and no '.join(sorted(missing))} section")
    if varying := MACHINE_SECTIONS & sections.keys():
        raise HostError(f"{', '.join(sorted(varying))} in the UKI: PCR 11 depends on the machine")
    return [
        _sha256(data)
        for name in STUB_SECTIONS
        if name in sections
        for data in (name.encode() + b"\0", sections[name])
    ]


def variable_data(name: str, owner: uuid.UUID, data: bytes) -> bytes:
    """UEFI_VARIABLE_DATA, the event of a measured variable: GUID, lengths, name, contents."""
    text = name.encode("utf-16-le")
    return owner.bytes_le + struct.pack("<QQ", len(name), len(data)) + text + data


def signature_entry(database: bytes, certificate: bytes) -> bytes:
    """The EFI_SIGNATURE_DATA (owner and certificate) of ``certificate`` in a signature database.

    A database is a row of EFI_SIGNATURE_LISTs (UEFI 2.10, section 32.4.1). Raises HostError when
    the certificate is not in it: the firmware would refuse what it signed.
    """
    offset = 0
    while offset < len(database):
        size, header, entry = struct.unpack_from("<III", database, offset + 16)
        start, end = offset + 28 + header, offset + size
        if not entry or size < 28 + header:
            raise HostError("the signature database is malformed")
        for at in range(start, end, entry):
            if database[at + 16 : at + entry] == certificate:
                return database[at : at + entry]
        offset = end
    raise HostError("the db certificate is not enrolled in the variable store")


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
