"""Varlink interface descriptions as checks: does a message have the shape that its interface says?

The fake control server checks every message it sends and receives, the contract tests those of the
real one, so that neither can drift from the ``.varlink`` files.

>>> interface = Interface("interface org.example\\nmethod Add(a: int) -> (sum: int)")
>>> interface.wrong_call("Add", {"a": "x"})
['a: a string is no int']
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from ainit.wire import interface_text
from ainit.wire.protocol import VarlinkError

TOKEN = re.compile(r"\s*(?:#[^\n]*\n\s*)*(->|\[string\]|\[\]|[A-Za-z_][A-Za-z0-9_.-]*|[():,?]|$)")
SCALARS: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "string": (str,),
    "object": (dict, list, str, int, float, bool),
}


@dataclass(frozen=True)
class Type:
    """``kind``: scalar, name, array, map, nullable, struct or enum."""

    kind: str
    name: str = ""
    inner: Type | None = None
    fields: Mapping[str, Type] | None = None
    words: tuple[str, ...] = ()


class Interface:
    """One parsed description."""

    def __init__(self, text: str) -> None:
        self._tokens = TOKEN.findall(text)
        self.types: dict[str, Type] = {}
        self.methods: dict[str, tuple[Type, Type]] = {}
        self.errors: dict[str, Type] = {}
        self._expect("interface")
        self.name = self._next()
        while (word := self._next()) != "":
            self._member(word)

    @classmethod
    def named(cls, name: str) -> Interface:
        """The interface as the product ships it."""
        return cls(interface_text(name))

    def wrong_call(self, method: str, parameters: object) -> list[str]:
        """What is wrong with the parameters of a call."""
        return self._wrong(self.methods[method][0], parameters, "")

    def wrong_reply(self, method: str, parameters: object) -> list[str]:
        """What is wrong with the parameters of a reply."""
        return self._wrong(self.methods[method][1], parameters, "")

    def wrong_error(self, error: str, parameters: object) -> list[str]:
        """What is wrong with the parameters of an error reply."""
        return self._wrong(self.errors[error], parameters, "")

    def asked(
        self,
        methods: Mapping[str, Callable[[Any], Mapping[str, Any]]],
        method: str,
        parameters: Mapping[str, object],
    ) -> Mapping[str, Any]:
        """What a service's method answers. Fails the test when a message is not as described."""
        assert self.wrong_call(method, parameters) == []
        try:
            reply = methods[method](parameters)
        except VarlinkError as error:
            name = error.name.removeprefix(f"{self.name}.")
            if problems := self.wrong_error(name, error.parameters):
                pytest.fail(f"{name}: {problems}")
            raise
        assert self.wrong_reply(method, reply) == []
        return reply

    def _next(self) -> str:
        return str(self._tokens.pop(0)) if self._tokens else ""

    def _expect(self, token: str) -> None:
        if (found := self._next()) != token:
            raise ValueError(f"{token!r} expected, {found!r} found")

    def _member(self, word: str) -> None:
        name = self._next()
        match word:
            case "type":
                self.types[name] = self._type()
            case "error":
                self.errors[name] = self._type()
            case "method":
                parameters = self._type()
                self._expect("->")
                self.methods[name] = parameters, self._type()
            case _:
                raise ValueError(f"type, method or error expected, {word!r} found")

    def _type(self) -> Type:
        match token := self._next():
            case "?":
                return Type("nullable", inner=self._type())
            case "[]":
                return Type("array", inner=self._type())
            case "[string]":
                return Type("map", inner=self._type())
            case "(":
                return self._struct()
            case _:
                return Type("scalar" if token in SCALARS else "name", token)

    def _struct(self) -> Type:
        fields: dict[str, Type] = {}
        words: list[str] = []
        while (name := self._next()) != ")":
            separator = self._tokens[0]
            if separator == ":":
                self._next()
                fields[name] = self._type()
            else:
                words.append(name)
            if self._tokens[0] == ",":
                self._next()
        return Type("enum", words=tuple(words)) if words else Type("struct", fields=fields)

    def _wrong(self, expected: Type, value: object, where: str) -> list[str]:
        place = f"{where}: " if where else ""
        match expected.kind, value:
            case "nullable", None:
                return []
            case ("nullable", _) if expected.inner:
                return self._wrong(expected.inner, value, where)
            case "name", _:
                return self._wrong(self.types[expected.name], value, where)
            case ("array", list()) if expected.inner:
                return [
                    problem
                    for index, item in enumerate(value)
                    for problem in self._wrong(expected.inner, item, f"{where}[{index}]")
                ]
            case ("map", dict()) if expected.inner:
                return [
                    problem
                    for key, item in value.items()
                    for problem in self._wrong(expected.inner, item, f"{where}[{key}]")
                ]
            case ("struct", dict()):
                return self._wrong_fields(expected.fields or {}, value, where)
            case ("enum", str()) if value in expected.words:
                return []
            case "scalar", _:
                kinds = SCALARS[expected.name]
                if isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool)):
                    return []
        shown = {"str": "a string", "NoneType": "null"}.get(type(value).__name__, f"{value!r}")
        return [f"{place}{shown} is no {expected.name or expected.kind}"]

    def _wrong_fields(
        self, fields: Mapping[str, Type], value: Mapping[str, object], where: str
    ) -> list[str]:
        prefix = f"{where}." if where else ""
        found = [f"{prefix}{key}: is not in the interface" for key in value.keys() - fields.keys()]
        for name, expected in fields.items():
            if name in value:
                found += self._wrong(expected, value[name], f"{prefix}{name}")
            elif expected.kind != "nullable":
                found.append(f"{prefix}{name}: is missing")
        return found
