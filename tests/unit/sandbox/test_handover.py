"""What can be handed over in one message, and whom a socket is connected to."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ainit.constants import HANDED_BYTES, HANDED_DESCRIPTORS
from ainit.sandbox.handover import connect, hand_over
from tests.support import descriptors


@pytest.mark.parametrize(
    ("count", "size", "words"),
    [
        (HANDED_DESCRIPTORS + 1, 1, "254 descriptors are more than the 253"),
        (1, 0, "a record of 0 bytes"),
        (1, HANDED_BYTES + 1, "a record of 32769 bytes"),
    ],
)
def test_what_one_message_does_not_hold_is_refused(count: int, size: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        hand_over("net", "words", 3, range(4, 4 + count), bytes(size))


def test_nobody_who_listens_is_an_error_that_names_the_socket(tmp_path: Path) -> None:
    before = descriptors.at_first()
    with pytest.raises(FileNotFoundError, match="egress"):
        connect(str(tmp_path / "egress"))
    assert descriptors.now() == before


def test_a_service_that_does_not_keep_up_is_an_error_and_no_wait(tmp_path: Path) -> None:
    path = str(tmp_path / "egress")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen(0)
        with socket.socket(fileno=connect(path)):
            before = descriptors.at_first()
            with pytest.raises(BlockingIOError, match="egress"):
                connect(path)
            assert descriptors.now() == before
