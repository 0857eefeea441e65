"""The boot partition, mounted while it is needed and no longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from ainit.child import esp
from ainit.linux import libc

PLACE = "/run/ainit/esp"


@pytest.mark.parametrize(
    ("lines", "gone"),
    [
        ([f"/dev/vda1 {PLACE} vfat rw,nosuid,nodev,noexec 0 0"] * 2, 2),
        ([f"/dev/vda1 {PLACE} vfat ro,nosuid,nodev,noexec 0 0"], 0),  # somebody reads
        (["/dev/mapper/root / erofs ro 0 0", "/dev/vda5 /var ext4 rw 0 0"], 0),
    ],
)
def test_what_a_writer_left_that_was_killed_is_unmounted(
    lines: list[str], gone: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unmounted: list[str] = []
    monkeypatch.setattr(libc, "unmount", unmounted.append)
    mounts = tmp_path / "mounts"
    mounts.write_text("".join(f"{line}\n" for line in lines))
    esp.forget(str(mounts))
    assert unmounted == [PLACE] * gone
