"""Variants: what an image is built for decides its parts and where it lies."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from lib.architecture import AARCH64, X86_64
from lib.host import BUILD, HostError
from lib.variant import BASE, NVIDIA, SERVER, VARIANTS, Target, add_options, architectures_of


@pytest.mark.parametrize(
    ("target", "image", "root"),
    [
        (Target(), "image", "root"),
        (Target(release=True), "image-release", "root-release"),
        (Target(NVIDIA), "image-nvidia", "root-nvidia"),
        (Target(NVIDIA, extensions=("cuda",)), "image-nvidia-cuda", "root-nvidia"),
        (Target(BASE, AARCH64), "image-aarch64", "root-aarch64"),
        (Target(BASE, AARCH64, release=True), "image-aarch64-release", "root-aarch64-release"),
        (Target(SERVER, release=True), "image-server-release", "root-server-release"),
        (Target(agents=Path("/a")), "image-agents", "root-agents"),
    ],
)
def test_every_target_has_its_own_directories(target: Target, image: str, root: str) -> None:
    assert (target.image, target.root) == (BUILD / image, BUILD / root)


@pytest.mark.parametrize(
    "words",
    [[], ["--variant=nvidia", "--release", "--extension=torch"], ["--arch=aarch64", "--agents=a"]],
)
def test_options_choose_a_target_and_name_it_to_another_script(words: list[str]) -> None:
    parser = argparse.ArgumentParser()
    add_options(parser)
    target = Target.of_options(parser.parse_args(words))
    assert Target.of_options(parser.parse_args(target.options)) == target


def test_what_there_is_no_image_for_is_refused_by_name() -> None:
    with pytest.raises(HostError, match="no variant 'desktop'; there are: base, server, nvidia"):
        Target.of("desktop")
    with pytest.raises(HostError, match="no nvidia image for aarch64"):
        Target.of("nvidia", "aarch64")
    with pytest.raises(HostError, match="extensions are for the variant nvidia"):
        Target.of("server", extensions=["cuda"])


def test_only_the_base_image_has_no_modules() -> None:
    assert [name for name, variant in VARIANTS.items() if not variant.has_modules] == ["base"]


def test_a_package_list_is_resolved_for_the_architectures_of_the_images_that_hold_it() -> None:
    assert architectures_of("root") == architectures_of("boot") == (X86_64, AARCH64)
    assert architectures_of("shell") == (X86_64, AARCH64)
    assert architectures_of("nvidia") == (X86_64,)
    assert architectures_of("tools") == (X86_64,)
