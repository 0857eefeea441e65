"""The bill of materials: valid by its schema, the same every time, true to its sources."""

import json
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from lib import sbom
from lib.architecture import X86_64
from lib.debian_lock import Entry
from lib.host import HostError
from lib.models import Record
from lib.wheels import Distribution

ENTRY = Entry("root", "libc6", "2.41-12+b1", "amd64", "pool/l/libc6.deb", 1, "ab" * 32)
WHEEL = Distribution("magika", "1.0.3", "Apache Software License", "cd" * 32)
COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Files: *
License: LGPL-2.1+

Files: b
License: BSD-3-Clause
 The text of it.

License: LGPL-2.1+
 The text of it.
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    copyright_file = tmp_path / "usr/share/doc/libc6/copyright"
    copyright_file.parent.mkdir(parents=True)
    copyright_file.write_text(COPYRIGHT)
    return tmp_path


def _kernel(folder: Path, magic: bytes = b"HdrS") -> Path:
    image = bytearray(0x1000)
    image[0x202:0x206] = magic
    image[0x20E:0x210] = (0x300).to_bytes(2, "little")
    image[0x500:0x520] = b"6.12.117 (builder@host) #1 SMP".ljust(32, b"\0")
    path = folder / "bzImage"
    path.write_bytes(image)
    return path


def _components(tree: Path) -> list[dict[str, Any]]:
    model = tree / "model.onnx"
    model.write_bytes(b"weights")
    return [
        sbom.debian(ENTRY, tree),
        sbom.wheel(WHEEL),
        sbom.kernel(_kernel(tree)),
        sbom.boot_loader(X86_64),
        sbom.model(model, Record("magika", "model", "model.onnx"), {"magika": WHEEL}),
        sbom.model(model, Record("placement", "policy", "placement.onnx"), {}),
        sbom.own("application", "ainit", model),
    ]


def test_the_document_is_valid_cyclonedx(tree: Path) -> None:
    document = sbom.document(_components(tree))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(document) is None


def test_the_order_of_the_parts_changes_nothing(tree: Path) -> None:
    components = _components(tree)
    assert sbom.document(components) == sbom.document(reversed(components))


def test_another_part_is_another_document(tree: Path) -> None:
    components = _components(tree)
    documents = [json.loads(sbom.document(found)) for found in (components, components[1:])]
    assert documents[0]["serialNumber"] != documents[1]["serialNumber"]


def test_a_debian_package_is_named_as_package_urls_demand(tree: Path) -> None:
    found = sbom.debian(ENTRY, tree)
    assert found["purl"] == "pkg:deb/debian/libc6@2.41-12%2Bb1?arch=amd64"
    assert found["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    names = [licence["license"]["name"] for licence in found["licenses"]]  # type: ignore[attr-defined]
    assert names == ["BSD-3-Clause", "LGPL-2.1+"]


def test_free_text_is_not_taken_for_licences() -> None:
    assert sbom.debian_licences("This is Linux.\nLicense: you may\n") == []


def test_the_kernel_says_its_own_version(tree: Path) -> None:
    assert sbom.kernel(_kernel(tree))["version"] == "6.12.117"


def test_what_is_no_kernel_is_refused(tree: Path) -> None:
    with pytest.raises(HostError, match="neither a bzImage"):
        sbom.kernel(_kernel(tree, magic=b"none"))


def test_a_model_keeps_the_origin_that_it_has(tree: Path) -> None:
    model = tree / "model.onnx"
    model.write_bytes(b"weights")
    found = sbom.model(model, Record("magika", "model", "model.onnx"), {"magika": WHEEL})
    assert found["purl"] == "pkg:pypi/magika@1.0.3#model.onnx"
    assert found["licenses"] == [{"license": {"name": "Apache-2.0"}}]


def test_a_file_that_is_no_bill_of_materials_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(HostError, match=r"x\.json"):
        sbom.read_components(tmp_path / "x.json")
