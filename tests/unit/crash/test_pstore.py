"""Pieces of a kernel log, in any order and state, put together."""

from __future__ import annotations

import random
import zlib

import pytest

from ainit.crash.pstore import CONSOLE, UNREADABLE, File, assemble, join, readable, together

T = 1700000000


def efi(part: int, count: int, text: str, *, reason: str = "Panic", at: int = T) -> File:
    name = f"dmesg-efi_pstore-{(at * 100 + part) * 1000 + count}"
    return File(name, float(at), f"{reason}#{count} Part{part}\n{text}".encode())


def packed(part: int, count: int, at: int = T) -> File:
    name = f"dmesg-efi_pstore-{(at * 100 + part) * 1000 + count}.enc.z"
    return File(name, float(at), zlib.compress(b"lost")[:5])


def lines(first: int, last: int) -> str:
    return "".join(f"<6>[{number:5}.000000] line {number}\n" for number in range(first, last))


def shown(first: int, last: int) -> str:
    return lines(first, last).replace("<6>", "")


def test_part_1_holds_the_end() -> None:
    files = [efi(number, 1, lines(30 - 3 * number, 33 - 3 * number)) for number in range(1, 11)]
    random.Random(7).shuffle(files)
    (dump,) = assemble(files)
    assert dump.text == shown(0, 30)
    assert (dump.reason, dump.time, dump.missing) == ("Panic", float(T), ())
    assert set(dump.files) == set(files)


def test_more_than_nine_parts_are_not_in_the_order_of_their_names() -> None:
    files = [
        File(
            f"dmesg-erst-{8000 + number}",
            float(T),
            f"Panic#1 Part{number}\nline {number}\n".encode(),
        )
        for number in (10, 2, 1, 9, 11, 3, 4, 5, 6, 7, 8)
    ]
    (dump,) = assemble(files)
    assert dump.text == "".join(f"line {number}\n" for number in range(11, 0, -1))


def test_a_missing_part_leaves_a_gap() -> None:
    (dump,) = assemble([efi(1, 1, lines(20, 30)), efi(3, 1, lines(0, 10))])
    assert dump.text == shown(0, 10) + "[…]\n" + shown(20, 30)
    assert dump.missing == (2,)


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_part_that_cannot_be_unpacked_leaves_a_gap(lost: int) -> None:
    parts = {1: lines(20, 30), 2: lines(10, 20), 3: lines(0, 10)}
    files = [packed(n, 1) if n == lost else efi(n, 1, text) for n, text in parts.items()]
    (dump,) = assemble(files)
    assert dump.missing == (lost,)
    assert [file.name for file in dump.unread] == [file.name for file in files[lost - 1 : lost]]
    assert dump.reason == "Panic"
    kept = [text.replace("<6>", "") for number, text in sorted(parts.items()) if number != lost]
    assert all(text in dump.text for text in kept)


def test_an_oops_and_its_panic_are_two_dumps_of_one_crash() -> None:
    files = [
        efi(1, 2, lines(5, 30), at=T + 1),
        efi(1, 1, lines(0, 20), reason="Oops"),
    ]
    (crash,) = together(assemble(files))
    assert [dump.reason for dump in crash] == ["Oops", "Panic"]
    assert join(crash) == shown(0, 30)


def test_dumps_without_a_common_line_have_a_gap_between_them() -> None:
    files = [efi(1, 1, lines(0, 5), reason="Oops"), efi(1, 2, lines(20, 30))]
    (crash,) = together(assemble(files))
    assert join(crash) == shown(0, 5) + "[…]\n" + shown(20, 30)


def test_crashes_of_two_boots_with_the_same_number_stay_apart() -> None:
    later = T + 3600
    files = [efi(n, 1, f"boot {at} {n}\n", at=at) for at in (later, T) for n in (2, 1)]
    crashes = together(assemble(files))
    assert [join(crash) for crash in crashes] == [
        f"boot {T} 2\nboot {T} 1\n",
        f"boot {later} 2\nboot {later} 1\n",
    ]


def test_two_boots_in_the_same_second_stay_apart_by_their_parts() -> None:
    files = [
        File("dmesg-ramoops-0", float(T), b"Panic#1 Part1\na\n"),
        File("dmesg-ramoops-1", float(T), b"Panic#1 Part1\nb\n"),
    ]
    assert [dump.text for dump in assemble(files)] == ["a\n", "b\n"]


def test_a_console_is_no_dump() -> None:
    (dump,) = assemble([File("console-ramoops-0", 5.0, b"[    1.0] hello\n")])
    assert (dump.reason, dump.text) == (CONSOLE, "[    1.0] hello\n")


@pytest.mark.parametrize(
    "name",
    ["", "x", "dmesg-efi_pstore-", "dmesg-erst-7", "mce-erst-1", "dmesg-erst-7.enc.z", "../a"],
)
@pytest.mark.parametrize("data", [b"", b"\x00\xff" * 50, b"Panic#", b"Panic#1 Part\n"])
def test_whatever_else_there_is_is_kept_as_it_is(name: str, data: bytes) -> None:
    (dump,) = assemble([File(name, 1.0, data)])
    assert dump.reason == UNREADABLE
    assert dump.unread == dump.files
    assert "\x00" not in dump.text


def test_random_bytes_never_raise_and_lose_no_file() -> None:
    source = random.Random(11)
    names = ["dmesg-efi_pstore-%d", "dmesg-efi_pstore-%d.enc.z", "dmesg-ramoops-%d", "console-a-%d"]
    for _ in range(300):
        files = [
            File(
                source.choice(names) % source.randrange(10 ** source.randrange(1, 20)),
                source.choice([0.0, -1e18, 1e18, 5.0]),
                source.choice([b"", b"Panic#1 Part%d\n" % source.randrange(10**9)])
                + source.randbytes(source.randrange(40)),
            )
            for _ in range(source.randrange(6))
        ]
        dumps = assemble(files)
        held = [file for dump in dumps for file in dump.files]
        assert sorted(held, key=repr) == sorted(files, key=repr)
        assert sum(len(dump.missing) for dump in dumps) < 1000
        for crash in together(dumps):
            join(crash)


def test_text_is_safe_to_show() -> None:
    assert (
        readable(b"<3>[ 1.0] a\x1b[2J\x00\tb\xff\n<12>c\n") == "[ 1.0] a\\x1b[2J\\x00\tb\ufffd\nc\n"
    )


def test_the_same_name_with_other_bytes_is_another_source() -> None:
    one, two = File("dmesg-ramoops-0", 1.0, b"a"), File("dmesg-ramoops-0", 1.0, b"b")
    assert one.source != two.source
    assert one.source == File("dmesg-ramoops-0", 2.0, b"a").source
