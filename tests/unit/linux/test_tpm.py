"""Answers of a TPM that is broken, slow or gone."""

from __future__ import annotations

import os

import pytest

from ainit.errors import TpmError
from ainit.linux.tpm import Tpm, extend_command, parse_read
from tests.support.tpm import PcrBank


def answering(response: bytes) -> Tpm:
    return Tpm(transmit=lambda command: response)


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"\x80\x01",
        b"\x80\x01\x00\x00\x00\x0b\x00\x00\x00\x00",
        b"\x80\x01\x00\x00\x00\x09\x00\x00\x00\x00",
        b"\x80\x01\x00\x00\x00\x0a\x00\x00\x00\x00\x00",
    ],
)
def test_a_malformed_response(response: bytes) -> None:
    with pytest.raises(TpmError, match="malformed"):
        answering(response).extend(13, bytes(32))


def test_an_error_code_is_named() -> None:
    bank = PcrBank()
    bank.code = 0x922
    with pytest.raises(TpmError, match="extend of PCR 13: the TPM answered with error 0x922"):
        Tpm(transmit=bank.transmit).extend(13, bytes(32))


def test_a_tpm_without_a_sha256_bank() -> None:
    response = b"\x80\x01\x00\x00\x00\x16\x00\x00\x00\x00" + bytes(12)
    with pytest.raises(TpmError, match="no SHA-256 bank for PCR 4"):
        answering(response).read([4, 7])


SELECTED = bytes(4) + (1).to_bytes(4, "big") + b"\x00\x0b\x03\x10\x00\x00"  # PCR 4


@pytest.mark.parametrize(
    "body",
    [
        SELECTED + (2).to_bytes(4, "big") + 2 * (b"\x00\x20" + bytes(32)),
        SELECTED + (0).to_bytes(4, "big"),
        SELECTED + (1).to_bytes(4, "big") + b"\x00\x14" + bytes(20),
        SELECTED + (1).to_bytes(4, "big") + b"\x00\x20" + bytes(31),
        SELECTED,
    ],
)
def test_values_that_do_not_fit_the_selection(body: bytes) -> None:
    with pytest.raises(TpmError):
        parse_read(body, [4])


def test_values_of_other_pcrs_than_asked_are_refused() -> None:
    body = SELECTED + (1).to_bytes(4, "big") + b"\x00\x20" + bytes(32)
    assert parse_read(body, [4]) == {4: bytes(32)}
    with pytest.raises(TpmError):
        parse_read(body, [5])


@pytest.mark.parametrize("size", [0, 20, 31, 33, 64])
def test_only_sha256_digests_are_extended(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        extend_command(13, bytes(size))


def test_a_missing_device() -> None:
    with pytest.raises(TpmError, match=r"no TPM: /nonexistent/tpm: No such file"):
        Tpm("/nonexistent/tpm")


def test_a_device_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal takes what is written to it, and nobody types an answer."""
    monkeypatch.setattr("ainit.linux.tpm._DEADLINE_SECONDS", 0.01)
    keyboard, screen = os.openpty()
    tpm = Tpm(os.ttyname(screen))
    try:
        with pytest.raises(TpmError, match=r"did not answer in 0\.01 s"):
            tpm.extend(13, bytes(32))
    finally:
        tpm.close()
        os.close(keyboard)
        os.close(screen)


def test_a_device_that_fails() -> None:
    tpm = Tpm("/dev/null")
    with pytest.raises(TpmError, match="malformed"):  # it reads as empty
        tpm.extend(13, bytes(32))
    tpm.close()
    with pytest.raises(TpmError, match="TPM device: Bad file descriptor"):
        tpm.extend(13, bytes(32))
