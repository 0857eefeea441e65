"""Debian's mirrors, as this host's apt configuration or the environment names them."""

import pytest
from lib.mirrors import MirrorError, Mirrors, discover_mirrors

# As `apt-get indextargets` prints it on a host with other vendors' sources beside Debian's.
HOST_TARGETS = """\
|cloud-tools|https://packages.vendor.example/apt/
Vendor|nodistro|https://deb.vendor.example/node/
Debian|bookworm|http://mirror.example/debian/
Debian|bookworm-updates|http://mirror.example/debian/
Debian|bookworm-security|http://security.example/debian-security/
"""


def test_mirrors_come_from_the_sources_that_are_debians() -> None:
    mirrors = discover_mirrors(HOST_TARGETS, {})
    assert mirrors == Mirrors(
        "http://mirror.example/debian", "http://security.example/debian-security"
    )


def test_the_environment_wins() -> None:
    mirrors = discover_mirrors(HOST_TARGETS, {"DEBIAN_MIRROR": "http://own.example/d/"})
    assert mirrors == Mirrors("http://own.example/d", "http://security.example/debian-security")
    both = {"DEBIAN_MIRROR": "http://a.example/d", "DEBIAN_SECURITY_MIRROR": "http://b.example/s/"}
    assert discover_mirrors("", both) == Mirrors("http://a.example/d", "http://b.example/s")


def test_a_host_that_never_updated_its_lists_is_read_by_path() -> None:
    targets = (
        "|stable|https://packages.vendor.example/apt/\n"
        "|bookworm|http://mirror.example/debian/\n"
        "|bookworm-security|http://mirror.example/debian-security/\n"
    )
    mirrors = discover_mirrors(targets, {})
    assert mirrors == Mirrors(
        "http://mirror.example/debian", "http://mirror.example/debian-security"
    )


def test_the_security_archive_is_beside_the_main_one_when_the_host_has_none() -> None:
    mirrors = discover_mirrors("Debian|bookworm|http://mirror.example/debian/\n", {})
    assert mirrors.security == "http://mirror.example/debian-security"


def test_a_host_without_debian_is_told_what_to_set() -> None:
    with pytest.raises(MirrorError, match="DEBIAN_MIRROR"):
        discover_mirrors("Vendor|nodistro|https://deb.vendor.example/node/\n", {})


def test_files_of_the_security_pool_come_from_the_security_archive() -> None:
    mirrors = Mirrors("http://m/debian", "http://s/debian-security")
    assert mirrors.uri("pool/main/a/a.deb") == "http://m/debian/pool/main/a/a.deb"
    updates = "pool/updates/main/a/a.deb"
    assert mirrors.uri(updates) == f"http://s/debian-security/{updates}"
