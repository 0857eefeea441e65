"""Framing, calls and replies."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.errors import WireError
from ainit.wire import interface_text, protocol
from ainit.wire.protocol import Call, Inbox, VarlinkError

STREAM = (
    protocol.call("org.example.Ping", {"text": "ü\0\n"})
    + protocol.call("org.example.Watch", {}, more=True)
    + protocol.reply({"n": 1}, continues=True)
    + protocol.error("org.example.No", {"why": None})
)
MESSAGES = [
    {"method": "org.example.Ping", "parameters": {"text": "ü\0\n"}},
    {"method": "org.example.Watch", "parameters": {}, "more": True},
    {"parameters": {"n": 1}, "continues": True},
    {"error": "org.example.No", "parameters": {"why": None}},
]


def test_a_stream_cut_at_every_byte_gives_the_same_messages() -> None:
    for cut in range(len(STREAM) + 1):
        inbox = Inbox()
        assert inbox.feed(STREAM[:cut]) + inbox.feed(STREAM[cut:]) == MESSAGES


def test_a_stream_of_single_bytes() -> None:
    inbox = Inbox()
    assert [message for byte in STREAM for message in inbox.feed(bytes([byte]))] == MESSAGES


@given(st.lists(st.integers(0, len(STREAM)), max_size=5))
def test_a_stream_in_any_pieces(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    inbox = Inbox()
    found = []
    for start, end in pairwise(edges):
        found += inbox.feed(STREAM[start:end])
    assert found == MESSAGES


@pytest.mark.parametrize("frame", [b"", b"{", b"[]", b"3", b"null", b'"a"', b"\xff", b"{}{}"])
def test_what_is_not_an_object_is_refused(frame: bytes) -> None:
    with pytest.raises(WireError):
        Inbox().feed(frame + b"\0")


def test_a_message_of_exactly_the_limit_is_taken() -> None:
    message = protocol.encode({"a": "x" * 100})
    assert Inbox(len(message) - 1).feed(message) == [{"a": "x" * 100}]


@pytest.mark.parametrize("end", [b"", b"\0"])
def test_a_longer_message_is_refused_whether_it_ends_or_not(end: bytes) -> None:
    with pytest.raises(WireError, match="longer than 10 bytes"):
        Inbox(10).feed(b'{"a": "xxxxxxxxxx"}' + end)


def test_many_short_messages_may_exceed_the_limit_together() -> None:
    assert len(Inbox(10).feed(protocol.encode({"a": 1}) * 100)) == 100


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"method": None},
        {"method": 3},
        {"method": "Ping"},
        {"method": "org.example.Ping", "parameters": []},
        {"method": "org.example.Ping", "parameters": "x"},
    ],
)
def test_what_is_not_a_call_is_refused(message: protocol.Message) -> None:
    with pytest.raises(WireError):
        Call(message)


def test_a_call_is_typed() -> None:
    call = Call({"method": "org.example.Ping", "parameters": None, "more": True, "oneway": 1})
    assert (call.interface, call.member, call.method) == ("org.example", "Ping", "org.example.Ping")
    assert (call.parameters, call.more, call.oneway) == ({}, True, False)


def make(**parameters: object) -> Call:
    return Call({"method": "a.B", "parameters": parameters})


def test_parameters_of_the_right_type() -> None:
    call = make(text="x", number=3, flag=True, null=None)
    assert (call.text("text"), call.optional_text("text")) == ("x", "x")
    assert (call.optional_text("null"), call.optional_text("absent")) == (None, None)
    assert (call.number("number", 1), call.number("absent", 1), call.number("null", 1)) == (3, 1, 1)
    assert (call.flag("flag"), call.flag("absent"), call.flag("null")) == (True, False, False)


@pytest.mark.parametrize(
    "read",
    [
        lambda call: call.text("number"),
        lambda call: call.text("absent"),
        lambda call: call.optional_text("number"),
        lambda call: call.number("text", 1),
        lambda call: call.number("flag", 1),
        lambda call: call.flag("number"),
    ],
)
def test_a_parameter_of_the_wrong_type_is_the_callers_error(read: object) -> None:
    assert callable(read)
    with pytest.raises(VarlinkError) as caught:
        read(make(text="x", number=3, flag=True))
    assert caught.value.name == "org.varlink.service.InvalidParameter"


def test_what_json_cannot_say_is_a_wire_error() -> None:
    with pytest.raises(WireError, match="not JSON"):
        protocol.encode({"a": float("nan")})


def test_every_interface_description_names_itself() -> None:
    for name in ("org.varlink.service", "org.ainos.Control", "org.ainos.Attest"):
        assert protocol.interfaces_of(interface_text(name)) == name


def test_a_description_without_an_interface_is_refused() -> None:
    with pytest.raises(WireError):
        protocol.interfaces_of("# interface\nmethod A() -> ()\n")
