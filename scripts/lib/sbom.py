"""The software bill of materials: CycloneDX 1.6, JSON, in a fixed order and without a build time.

There are two, one inside the other. What the root holds is written into the root itself, where the
verified machine can show it; the image's own adds kernel, boot loader and models. Components are
plain dictionaries in the schema's own terms; a test validates documents against the schema.

    write_root(tree, [debian(entry, tree), wheel(distribution)])
"""

from __future__ import annotations

import json
import re
import struct
import urllib.parse
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from lib import debian_lock
from lib.architecture import Architecture
from lib.debian_lock import Entry
from lib.host import HostError, sha256_file
from lib.layout import NAMESPACE
from lib.models import PACKAGED, Record
from lib.release import PRODUCT, epoch, version
from lib.variant import BOOT_GROUP
from lib.wheels import Distribution

ROOT_DOCUMENT = "usr/lib/ainos/sbom.cdx.json"
OWN_LICENCE = "Apache-2.0"
# What the SPDX list calls by another name than a package's own metadata does.
SPDX = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "MIT License": "MIT",
}

Component = dict[str, object]


def _component(
    kind: str, name: str, release: str, purl: str, *, sha256: str, licences: Sequence[str]
) -> Component:
    found: Component = {
        "type": kind,
        "bom-ref": purl,
        "name": name,
        "version": release,
        "purl": purl,
        "hashes": [{"alg": "SHA-256", "content": sha256}],
    }
    if licences:
        found["licenses"] = [{"license": {"name": licence}} for licence in licences]
    return found


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def debian(entry: Entry, tree: Path) -> Component:
    """Describe a Debian package; its licences are those of its copyright file in the tree."""
    purl = f"pkg:deb/debian/{_quoted(entry.package)}@{_quoted(entry.version)}"
    purl += f"?arch={entry.architecture}"
    text = tree / "usr/share/doc" / entry.package / "copyright"
    licences = debian_licences(text.read_text(errors="replace")) if text.exists() else []
    return _component(
        "library", entry.package, entry.version, purl, sha256=entry.sha256, licences=licences
    )


def debian_licences(text: str) -> list[str]:
    """Return the short names in a machine-readable copyright file; none for one in free text."""
    if not text.startswith("Format:"):
        return []
    return sorted(set(re.findall(r"^License: *(\S[^\n]*)$", text, re.MULTILINE)))


def wheel(distribution: Distribution) -> Component:
    """Describe a Python package from PyPI."""
    name, release = distribution.name, distribution.version
    licence = SPDX.get(distribution.licence, distribution.licence)
    return _component(
        "library",
        name,
        release,
        f"pkg:pypi/{name}@{_quoted(release)}",
        sha256=distribution.sha256,
        licences=[licence] if licence else [],
    )


def own(kind: str, name: str, path: Path) -> Component:
    """Describe a part that is built from this source tree, by the file that it became."""
    purl = f"pkg:generic/{PRODUCT}/{name}@{version()}"
    return _component(kind, name, version(), purl, sha256=sha256_file(path), licences=[OWN_LICENCE])


def part(kind: str, path: Path, purl: str, release: str, licence: str) -> Component:
    """Describe one file of something that is neither a package of Debian's nor of PyPI's."""
    return _component(
        kind,
        path.name,
        release,
        f"{purl}@{_quoted(release)}#{_quoted(path.name)}",
        sha256=sha256_file(path),
        licences=[licence],
    )


def model(path: Path, record: Record, sources: Mapping[str, Distribution]) -> Component:
    """Describe a model; one that comes from a package keeps that package's name and version."""
    origin = next((p.distribution for p in PACKAGED if p.name == record.name), None)
    if record.kind == "extension":  # which has a bill of materials of its own inside
        return own("library", record.name, path)
    if origin is None:
        return own("machine-learning-model", record.name, path)
    source = sources[origin]
    purl = f"pkg:pypi/{origin}@{_quoted(source.version)}#{record.file}"
    return _component(
        "machine-learning-model",
        record.name,
        source.version,
        purl,
        sha256=sha256_file(path),
        licences=[SPDX.get(source.licence, source.licence)] if source.licence else [],
    )


def kernel_release(image: Path) -> str:
    """Return what ``uname -r`` will say. Raises HostError.

    An x86 image has it in its header (boot protocol, offset 0x20e). That of arm64 is not compressed
    and holds the banner that the kernel prints first.
    """
    data = image.read_bytes()
    if data[0x202:0x206] == b"HdrS":
        (offset,) = struct.unpack_from("<H", data, 0x20E)
        return data[offset + 0x200 :].split(b" ", 1)[0].decode("ascii")
    banner = re.search(rb"Linux version ([!-~]+) ", data) if data[0x38:0x3C] == b"ARM\x64" else None
    if banner is None:
        raise HostError(f"{image} is neither a bzImage nor an arm64 Image")
    return banner[1].decode("ascii")


def kernel(image: Path) -> Component:
    """Describe the kernel by the version in its image."""
    release = kernel_release(image)
    purl = f"pkg:generic/linux@{_quoted(release)}"
    return _component(
        "operating-system",
        "linux",
        release,
        purl,
        sha256=sha256_file(image),
        licences=["GPL-2.0-only WITH Linux-syscall-note"],
    )


def boot_loader(architecture: Architecture) -> Component:
    """Describe systemd-boot and its stub, which lie on the ESP and in the UKI."""
    (entry,) = debian_lock.read(group=BOOT_GROUP, architecture=architecture)
    purl = f"pkg:deb/debian/systemd-boot-efi@{_quoted(entry.version)}?arch={entry.architecture}"
    return _component(
        "firmware",
        entry.package,
        entry.version,
        purl,
        sha256=entry.sha256,
        licences=["LGPL-2.1-or-later"],
    )


def document(components: Iterable[Component]) -> str:
    """Return the bill of materials of the product with these components."""
    ordered = sorted(components, key=lambda component: str(component["bom-ref"]))
    purl = f"pkg:generic/{PRODUCT}@{version()}"
    body = json.dumps(ordered, sort_keys=True)
    found = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, body)}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch(), UTC).isoformat(),
            "component": {
                "type": "operating-system",
                "bom-ref": purl,
                "name": PRODUCT,
                "version": version(),
                "purl": purl,
                "licenses": [{"license": {"id": OWN_LICENCE}}],
            },
        },
        "components": ordered,
        "dependencies": [
            {"ref": purl, "dependsOn": [component["bom-ref"] for component in ordered]},
        ],
    }
    return json.dumps(found, indent=1) + "\n"


def write_root(tree: Path, components: Iterable[Component]) -> None:
    """Write the bill of materials of a finished root tree into it."""
    library = tree / ROOT_DOCUMENT
    agents = [
        own("application", f"agent-{path.stem}", path)
        for path in sorted((library.parent / "agents").glob("*.erofs"))
    ]
    plan = own("application", "ainit", library.parent / "plan.json")
    library.write_text(document([*components, *agents, plan]))


def read_components(path: Path) -> list[Component]:
    """Return the components of a bill of materials. Raises HostError."""
    try:
        found: list[Component] = json.loads(path.read_text())["components"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HostError(f"{path}: no bill of materials: {error}") from error
    return found
