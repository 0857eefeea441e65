"""What a guest said is read line by line, and the machine's time is a count of instructions."""

from __future__ import annotations

from pathlib import Path

from lib.boot import run
from lib.boot.ground import Ground
from lib.boot.run import Said


def test_only_whole_lines_were_said(tmp_path: Path) -> None:
    port = tmp_path / "port"
    assert run.said(port) == []
    port.write_text("first 1500000000 190000000\nready 2000000000 2")
    assert run.said(port) == [Said("first", 1.5, 0.19)]


def test_the_command_line_has_the_words_and_counts_instructions(tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(1 << 20))
    ground = Ground(disk, tmp_path / "kernel", "root=/dev/dm-0 quiet")
    command = run.command(ground, "init=/x -- init", tmp_path / "port", tmp_path / "console")
    assert command[command.index("-append") + 1] == "root=/dev/dm-0 quiet init=/x -- init"
    assert "sleep=off" in command[command.index("-icount") + 1]
    assert command[command.index("-smp") + 1] == "1"
    memory = command[command.index("-object") + 1]
    assert "share=off" in memory  # or the guest would write to the disk that all share
    assert f"size={1 << 20}" in memory
