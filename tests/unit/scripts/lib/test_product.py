"""The product layer: which files of the checkout reach an image, and what a wrong tree is told."""

import marshal
from pathlib import Path

import pytest
from lib import bundle, native, product
from lib.host import REPOSITORY
from lib.tree import TreeError


def test_what_tools_leave_behind_does_not_reach_the_image() -> None:
    stray = REPOSITORY / "ainit" / "__pycache__" / "stray.cpython-311.pyc"
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"")
    native.build()  # this host's, which is another one's in an image for another architecture
    try:
        found = product.sources("ainit")
    finally:
        stray.unlink()
    assert REPOSITORY / "ainit/__init__.py" in found
    assert not [path for path in found if path.suffix in (".pyc", ".so")]


def test_links_of_the_overlay_are_taken_as_links() -> None:
    assert product.OVERLAY / "etc/resolv.conf" in product.sources("rootfs-overlay")


def test_what_is_only_for_development_exists() -> None:
    for path in product.parts(product.DEVELOPMENT) | product.parts(product.NVIDIA):
        assert (product.OVERLAY / path).exists(), path


def test_os_release_names_version_and_variant() -> None:
    fields = dict(
        line.split("=", 1) for line in product.os_release("base", release=True).splitlines()
    )
    assert fields["ID"] == "ainos"
    assert fields["VARIANT_ID"] == "release"
    assert fields["VERSION_ID"] == fields["IMAGE_VERSION"]
    assert "VARIANT_ID=development" in product.os_release("server", release=False)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("usr/sbin/init", "usr/bin/python3", *_LIBRARY):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o755)
    bundle.write(tmp_path)  # of nothing: there are no modules
    return tmp_path


_LIBRARY = ("usr/lib/ainos/plan.json", "usr/lib/ainos/machine.toml", product.NATIVE)


def test_a_complete_tree_passes(tree: Path) -> None:
    product.check(tree, release=True)


def test_every_fault_of_a_tree_is_named_at_once(tree: Path) -> None:
    (tree / "usr/bin/sh").touch()
    (tree / "usr/lib/ainos/plan.json").unlink()
    (tree / "usr/sbin/init").chmod(0o644)
    (tree / bundle.BUNDLE).write_bytes(marshal.dumps({"ainit": ("/ainit", False, b"")}, 2))
    with pytest.raises(TreeError) as error:
        product.check(tree, release=True)
    assert str(error.value).splitlines()[1:] == [
        "/usr/bin/sh is a shell, in a release image",
        "/usr/lib/ainos/plan.json is missing",
        "/usr/lib/ainit/pid1.bundle is stale: ainit",
        "/usr/sbin/init is not executable",
    ]


def test_a_development_tree_may_have_a_shell(tree: Path) -> None:
    (tree / "usr/bin/sh").touch()
    product.check(tree, release=False)
