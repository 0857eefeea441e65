"""The sealed key on swtpm (EMULATED: no chip): who gets it, who does not, and what an attacker
who owns the TPM's owner hierarchy can do about the floor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256

import pytest

from ainit.errors import RefusedError, TpmError
from ainit.linux.tpm import Tpm
from ainit.seal import policies
from ainit.seal.approval import Approval
from ainit.seal.chip import Chip
from ainit.seal.decide import Decision, Sealed, decide
from tests.support.sealing import Approver, seal
from tests.unit.attest.swtpm import Swtpm

SECRET = b"thirty-two bytes of key material"
APPROVER = Approver()
BOOT = (7, 9, 11)


@pytest.fixture(scope="module")
def running() -> Iterator[Swtpm]:
    with Swtpm() as tpm:
        yield tpm


def boot(tpm: Swtpm, generation: int = 1) -> None:
    """Switch the machine on, with an image of that generation."""
    tpm.power_off()
    tpm.power_on()
    for pcr in BOOT:
        tpm.tpm().extend(pcr, sha256(b"%d" % (pcr if pcr < 11 else generation)).digest())


def approval(tpm: Swtpm, generation: int = 1) -> Approval:
    """The approval of the image that runs."""
    return APPROVER.approve(generation, tpm.tpm().read((9, 11, 12)))


def sealed_at(tpm: Swtpm, floor: int, *, above: int = 0) -> Sealed:
    """The secret, for a floor that is ``above`` the one that the counter stands for."""
    with Chip(tpm.tpm()) as chip:
        most = chip.make_counter() + above
        return seal(chip, SECRET, APPROVER.point, floor, most)


def judge(tpm: Swtpm, sealed: list[Sealed], approvals: list[Approval]) -> Decision:
    with Chip(tpm.tpm()) as chip:
        return decide(sealed, approvals, tpm.tpm().read((7, 9, 11, 12)), chip.counter())


def open_with(tpm: Swtpm, sealed: Sealed, word: Approval) -> bytes:
    """What the TPM gives to somebody who tries, whatever ``decide`` would say."""
    signature = word.signatures[max(word.signatures)]
    grant = replace(
        decide([sealed], [word], {**word.pcrs, **sealed.bound}, sealed.most).choices[0].grant,
        signature=word.signatures.get(sealed.floor, signature),
    )
    with Chip(tpm.tpm()) as chip:
        return chip.unseal(sealed.blob, grant)


@pytest.fixture
def tpm(running: Swtpm) -> Swtpm:
    """A TPM of a machine that has just booted an image of generation 1."""
    boot(running)
    return running


def test_the_approved_image_gets_the_key(tpm: Swtpm) -> None:
    sealed = sealed_at(tpm, 1)
    (choice,) = judge(tpm, [sealed], [approval(tpm)]).choices
    with Chip(tpm.tpm()) as chip:
        assert chip.unseal(choice.sealed.blob, choice.grant) == SECRET


def test_after_a_reboot_too(tpm: Swtpm) -> None:
    sealed, word = sealed_at(tpm, 1), approval(tpm)
    boot(tpm)
    assert open_with(tpm, sealed, word) == SECRET


def test_an_update_that_nobody_told_the_machine_of_gets_it(tpm: Swtpm) -> None:
    sealed = sealed_at(tpm, 1)
    boot(tpm, generation=2)
    assert open_with(tpm, sealed, approval(tpm, 2)) == SECRET


@pytest.mark.parametrize("pcr", [7, 9, 11, 12])
def test_another_boot_does_not(tpm: Swtpm, pcr: int) -> None:
    sealed, word = sealed_at(tpm, 1), approval(tpm)
    tpm.tpm().extend(pcr, bytes(32))
    with pytest.raises(TpmError):
        open_with(tpm, sealed, word)
    decision = judge(tpm, [sealed], [word])
    assert not decision.choices
    assert [finding.split()[:2] for finding in decision.findings] == [["PCR", str(pcr)]]


def test_a_signature_of_somebody_else_does_not(tpm: Swtpm) -> None:
    sealed, stranger = sealed_at(tpm, 1), Approver()
    forged = stranger.approve(1, tpm.tpm().read((9, 11, 12)))
    with pytest.raises(TpmError, match="TPM2_VerifySignature"):
        open_with(tpm, sealed, replace(forged, key=APPROVER.point))
    (finding,) = judge(tpm, [sealed], [forged]).findings
    assert "by another key" in finding


def test_with_the_key_of_somebody_else_the_policy_is_another(tpm: Swtpm) -> None:
    """The attacker signs for himself and changes the header to name his key."""
    stranger = Approver()
    sealed = replace(sealed_at(tpm, 1), key=stranger.point)
    with pytest.raises(TpmError, match="TPM2_Unseal"):
        open_with(tpm, sealed, stranger.approve(1, tpm.tpm().read((9, 11, 12))))


@pytest.mark.parametrize("part", [0, 1])
def test_an_altered_signature_does_not(tpm: Swtpm, part: int) -> None:
    sealed, word = sealed_at(tpm, 1), approval(tpm)
    altered = list(word.signatures[1])
    altered[part] ^= 1
    wrong = replace(word, signatures={1: (altered[0], altered[1])})
    with pytest.raises(TpmError, match="TPM2_VerifySignature"):
        open_with(tpm, sealed, wrong)


def test_a_signature_for_a_lower_floor_does_not(tpm: Swtpm) -> None:
    sealed, word = sealed_at(tpm, 2), approval(tpm)
    moved = replace(word, signatures={2: word.signatures[1]})
    with pytest.raises(TpmError, match="TPM2_VerifySignature"):
        open_with(tpm, sealed, moved)
    (finding,) = judge(tpm, [sealed], [word]).findings
    assert finding == "0.1 is of generation 1, below the floor of this machine, 2"


# The floor.


@pytest.fixture
def raised(tpm: Swtpm) -> tuple[list[Sealed], Approval, Approval]:
    """A machine whose floor was raised to 2 while generation 2 ran; the approvals of both."""
    old = approval(tpm)
    records = [sealed_at(tpm, 1), sealed_at(tpm, 2, above=1)]
    boot(tpm, generation=2)
    new = approval(tpm, 2)
    for record in records:
        assert open_with(tpm, record, new) == SECRET
    with Chip(tpm.tpm()) as chip:
        chip.raise_counter(records[1].most)
    return records, old, new


Raised = tuple[list[Sealed], Approval, Approval]


def test_the_new_image_opens_at_the_raised_floor(tpm: Swtpm, raised: Raised) -> None:
    records, old, new = raised
    (choice,) = judge(tpm, records, [old, new]).choices
    assert choice.sealed.floor == 2
    assert open_with(tpm, records[1], new) == SECRET


def test_the_old_image_opens_no_more(tpm: Swtpm, raised: Raised) -> None:
    records, old, new = raised
    boot(tpm)
    decision = judge(tpm, records, [old, new])
    assert decision.findings == ("0.1 is of generation 1, below the floor of this machine, 2",)
    assert decision.floor == 2


def test_nor_with_the_header_from_before(tpm: Swtpm, raised: Raised) -> None:
    """A copy of the disk from before the floor was raised, and the old image, signed as ever."""
    records, old, _ = raised
    boot(tpm)
    with pytest.raises(TpmError, match="TPM2_PolicyNV"):
        open_with(tpm, records[0], old)
    (finding,) = judge(tpm, records[:1], [old]).findings
    assert "an older header was put back" in finding


def test_nor_with_a_limit_that_was_raised_in_the_header(tpm: Swtpm, raised: Raised) -> None:
    records, old, _ = raised
    boot(tpm)
    with pytest.raises(TpmError, match="TPM2_Unseal"):
        open_with(tpm, replace(records[0], most=records[1].most), old)


def test_a_counter_that_is_made_anew_begins_above(tpm: Swtpm, raised: Raised) -> None:
    """Whoever has the owner hierarchy removes the counter and defines it again, to begin at zero.

    The TPM starts a counter above every counter that it ever had, so the floor stays closed.
    """
    records, old, new = raised
    before = records[1].most
    tpm.tool("tpm2_nvundefine", "-C", "o", hex(policies.COUNTER_INDEX))
    (finding,) = judge(tpm, records, [new]).findings
    assert finding.startswith("this TPM has no counter")
    with pytest.raises(TpmError):
        open_with(tpm, records[1], new)
    with Chip(tpm.tpm()) as chip:
        assert chip.make_counter() > before
    boot(tpm)
    with pytest.raises(TpmError, match="TPM2_PolicyNV"):
        open_with(tpm, records[0], old)


def test_nor_does_an_ordinary_index_in_its_place(tpm: Swtpm, raised: Raised) -> None:
    """An index that anybody can write has other attributes, hence another name."""
    records, old, _ = raised
    index = hex(policies.COUNTER_INDEX)
    tpm.tool("tpm2_nvundefine", "-C", "o", index)
    attributes = "authwrite|authread|no_da"
    tpm.tool("tpm2_nvdefine", "-C", "o", "-s", "8", "-a", attributes, index)
    (tpm.directory / "zero").write_bytes(bytes(8))
    tpm.tool("tpm2_nvwrite", "-C", index, "-i", str(tpm.directory / "zero"), index)
    try:
        boot(tpm)
        with pytest.raises(TpmError, match="TPM2_Unseal"):
            open_with(tpm, records[0], old)
        with Chip(tpm.tpm()) as chip, pytest.raises(RefusedError, match="not the counter"):
            chip.counter()
    finally:
        tpm.tool("tpm2_nvundefine", "-C", "o", index)


def test_a_counter_that_was_defined_and_never_raised_is_finished(tpm: Swtpm) -> None:
    """The power went between the two commands that make it."""
    with Chip(tpm.tpm()) as chip:
        before = chip.make_counter()
    tpm.tool("tpm2_nvundefine", "-C", "o", hex(policies.COUNTER_INDEX))
    attributes = "authwrite|authread|no_da|nt=counter"
    tpm.tool("tpm2_nvdefine", "-C", "o", "-a", attributes, hex(policies.COUNTER_INDEX))
    with Chip(tpm.tpm()) as chip:
        assert chip.make_counter() == before + 1
        assert chip.counter() == before + 1


# The TPM.


def test_another_tpm_does_not_take_it(tpm: Swtpm) -> None:
    sealed, word = sealed_at(tpm, 1), approval(tpm)
    with Swtpm() as other:
        boot(other)
        sealed_at(other, 1)
        with pytest.raises(TpmError, match="TPM2_Load"):
            open_with(other, sealed, word)


def test_neither_secret_nor_key_crosses_the_bus(tpm: Swtpm) -> None:
    seen: list[bytes] = []
    inner = tpm.tpm()

    def listen(command: bytes) -> bytes:
        response = inner._transmit(command)
        seen.extend((command, response))
        return response

    heard = Tpm(transmit=listen)
    word = approval(tpm)
    with Chip(heard) as chip:
        sealed = seal(chip, SECRET, APPROVER.point, 1, chip.make_counter())
        (choice,) = decide([sealed], [word], heard.read((7, 9, 11, 12)), chip.counter()).choices
        assert chip.unseal(sealed.blob, choice.grant) == SECRET
    assert len(seen) > 20
    assert not [data for data in seen if SECRET[:8] in data]


def test_an_answer_that_was_altered_is_noticed(tpm: Swtpm) -> None:
    inner, word = tpm.tpm(), approval(tpm)
    sealed = sealed_at(tpm, 1)

    def alter(command: bytes) -> bytes:
        response = bytearray(inner._transmit(command))
        if command[6:10] == (0x15E).to_bytes(4, "big"):
            response[20] ^= 1
        return bytes(response)

    (choice,) = judge(tpm, [sealed], [word]).choices
    with Chip(Tpm(transmit=alter)) as chip, pytest.raises(TpmError, match="altered on its way"):
        chip.unseal(sealed.blob, choice.grant)


def test_nothing_is_left_in_the_tpm(tpm: Swtpm) -> None:
    sealed, word = sealed_at(tpm, 1), approval(tpm)
    for _ in range(8):  # a TPM has room for three objects and three sessions
        open_with(tpm, sealed, word)
    tpm.tpm().extend(7, bytes(32))
    for _ in range(8):
        with pytest.raises(TpmError):
            open_with(tpm, sealed, word)
    assert tpm.tool("tpm2_getcap", "handles-transient").strip() == ""
    assert tpm.tool("tpm2_getcap", "handles-loaded-session").strip() == ""


def test_the_arithmetic_is_that_of_tpm2_tools(tpm: Swtpm) -> None:
    """The same policy, built up by another implementation in a trial session."""
    place = tpm.directory
    with Chip(tpm.tpm()) as chip:
        most = chip.make_counter()
    (place / "most").write_bytes(most.to_bytes(8, "big"))
    key = policies.public_name(policies.key_area(*APPROVER.point))
    (place / "name").write_bytes(key)
    (place / "approved").write_bytes(bytes(32))
    (place / "reference").write_bytes(policies.floor_reference(3))
    tpm.tool("tpm2_startauthsession", "-S", "s.ctx", cwd=place)
    try:
        arguments = ("-S", "s.ctx", "-i", "approved", "-q", "reference", "-n", "name")
        shown = tpm.tool("tpm2_policyauthorize", *arguments, cwd=place)
        assert policies.authorised(key, policies.floor_reference(3)).hex() in shown
        index = hex(policies.COUNTER_INDEX)
        tpm.tool("tpm2_policynv", "-S", "s.ctx", "-C", index, "-i", "most", index, "ule", cwd=place)
        shown = tpm.tool("tpm2_policypcr", "-S", "s.ctx", "-l", "sha256:7", cwd=place)
    finally:
        tpm.tool("tpm2_flushcontext", "s.ctx", cwd=place)
    counter = policies.public_name(policies.counter_area())
    bound = tpm.tpm().read((7,))
    assert policies.sealing_policy(key, 3, counter, most, bound).hex() in shown
