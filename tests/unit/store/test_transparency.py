from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from ainit.errors import RefusedError
from ainit.policy.trusted_roots import Window
from ainit.store.keys import EllipticKey
from ainit.store.transparency import Entry, root_of
from tests.support.sigstore import MOMENT, Json, Log, base64_text, path, private_key, root_hash

ALWAYS = Window(datetime.datetime.min.replace(tzinfo=datetime.UTC), None)


def trusted(log: Log) -> dict[bytes, tuple[EllipticKey, Window]]:
    return {log.id: (EllipticKey("log", log.key.public_key()), ALWAYS)}


def trees() -> st.SearchStrategy[tuple[int, list[bytes]]]:
    """A tree of some entries, and a place in it."""
    return st.integers(1, 70).flatmap(
        lambda size: st.tuples(
            st.integers(0, size - 1), st.just([bytes([number]) for number in range(size)])
        )
    )


@given(trees())
def test_the_path_of_each_entry_leads_to_the_root(tree: tuple[int, list[bytes]]) -> None:
    place, leaves = tree
    assert root_of(leaves[place], place, len(leaves), path(place, leaves)) == root_hash(leaves)


def lead_elsewhere(
    leaf: bytes, place: int, leaves: Sequence[bytes], nodes: Sequence[bytes]
) -> bool:
    try:
        return root_of(leaf, place, len(leaves), nodes) != root_hash(leaves)
    except RefusedError:
        return True


@given(trees(), st.data())
def test_no_other_path_leads_there(tree: tuple[int, list[bytes]], data: st.DataObject) -> None:
    place, leaves = tree
    nodes = path(place, leaves)
    elsewhere = data.draw(st.integers(0, len(leaves) + 1).filter(lambda other: other != place))
    assert lead_elsewhere(leaves[place], elsewhere, leaves, nodes)
    assert lead_elsewhere(b"another", place, leaves, nodes)
    assert lead_elsewhere(leaves[place], place, leaves, [*nodes, bytes(32)])
    if nodes:
        changed = data.draw(st.integers(0, len(nodes) - 1))
        others = [*nodes[:changed], sha256(nodes[changed]).digest(), *nodes[changed + 1 :]]
        assert lead_elsewhere(leaves[place], place, leaves, others)
        assert lead_elsewhere(leaves[place], place, leaves, nodes[:-1])


def test_witnesses_sign_checkpoints_too() -> None:
    log = Log()
    entry = log.enter(b"body")
    note = entry["inclusionProof"]["checkpoint"]
    head, _, signature = note["envelope"].partition("\n\n")
    witness = f"\u2014 witness.example.org {base64_text(b'wit' + bytes(70))}\n"
    note["envelope"] = f"{head}\nanother line\n\n{witness}{signature}"
    with pytest.raises(RefusedError, match="the log did not sign the checkpoint"):
        Entry.parse(entry).logged(trusted(log))
    note["envelope"] = f"{head}\n\n{witness}{signature}"
    assert Entry.parse(entry).logged(trusted(log)) == MOMENT


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + "more\n",
        lambda text: text.rstrip("\n"),
        lambda text: text.replace("\n\n", "\n"),
        lambda text: text.replace("\u2014", "-"),
        lambda text: text + "\u2014 witness.example.org AAAA\n" * 1000,
    ],
)
def test_what_is_no_checkpoint(change: Callable[[str], str]) -> None:
    """Not a line more than there should be, and not too many of those."""
    log = Log()
    entry = log.enter(b"body")
    note = entry["inclusionProof"]["checkpoint"]
    note["envelope"] = change(note["envelope"])
    with pytest.raises(RefusedError, match="checkpoint is none"):
        Entry.parse(entry).logged(trusted(log))


def test_a_checkpoint_without_a_root() -> None:
    log = Log()
    entry = log.enter(b"body")
    entry["inclusionProof"]["checkpoint"]["envelope"] = log.note("log.example.org\n10\n", log.key)
    with pytest.raises(RefusedError, match="checkpoint is none"):
        Entry.parse(entry).logged(trusted(log))


@pytest.mark.parametrize("seconds", [0, 1 << 36])
def test_a_time_that_is_none(seconds: int) -> None:
    """The log signed it all the same."""
    log = Log()
    entry = log.enter(b"body", datetime.datetime.fromtimestamp(seconds, datetime.UTC))
    with pytest.raises(RefusedError, match="another time than one of now"):
        Entry.parse(entry).logged(trusted(log))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"logIndex": 7}, "logIndex is missing or no text"),
        ({"integratedTime": "soon"}, "integratedTime is no number"),
        ({"canonicalizedBody": base64_text(bytes(65537))}, "canonicalizedBody is longer than"),
        ({"logId": {"keyId": base64_text(bytes(33))}}, "keyId is longer than 32 bytes"),
        ({"more": 1}, "the log entry has an unknown field more"),
        ({"kindVersion": {"kind": "dsse", "more": "1"}}, "kindVersion has an unknown field more"),
    ],
)
def test_entries_that_are_none(change: Json, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}"):
        Entry.parse({**Log().enter(b"body"), **change})


def test_a_long_path_is_not_walked() -> None:
    entry = Log().enter(b"body")
    entry["inclusionProof"]["hashes"] = [base64_text(bytes(32))] * 64
    with pytest.raises(ValueError, match=r"^hashes holds more than 63 items$"):
        Entry.parse(entry)


def test_a_log_on_another_curve_is_believed() -> None:
    log = Log()
    log.key = private_key(ec.SECP384R1())
    with pytest.raises(RefusedError, match="the promise of the log does not hold"):
        Entry.parse(log.enter(b"body")).logged(trusted(log))  # it hashes with SHA-256
