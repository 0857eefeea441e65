"""What the store is asked, and what is made of its answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from ainit.child.client import VarlinkError
from ainit.errors import RefusedError, UnavailableError
from ainit.ota import stored

Message = dict[str, object]


class Store:
    """Answers one after the other, the last for ever; a step of its clock is a sleep."""

    def __init__(self, *answers: Message | Exception) -> None:
        self.calls: list[tuple[str, Mapping[str, object]]] = []
        self.time = 0.0
        self._answers: Iterator[Message | Exception] = iter(answers)
        self._last = answers[-1]

    def ask(self, method: str, parameters: Mapping[str, object], seconds: float) -> Message:
        self.calls.append((method.rpartition(".")[2], parameters))
        answer = next(self._answers, self._last)
        if isinstance(answer, Exception):
            raise answer
        return {"job": answer}

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def admit(self, hold_s: float | None = None) -> None:
        stored.admit("/there", hold_s, self.ask, lambda: self.time, self.sleep)


def job(number: int = 1, **more: object) -> Message:
    return {"id": number, "done": 0, "finished": False, "reason": "", **more}


def test_it_waits_until_the_store_has_it() -> None:
    store = Store(job(), job(done=1), UnavailableError("it starts anew"), job(finished=True))
    store.admit(30.0)
    assert [method for method, _ in store.calls] == ["Add", "Job", "Job", "Job"]
    assert store.calls[0][1] == {"source": "/there", "hold_s": 30.0}


def test_without_a_trial_none_is_asked_for() -> None:
    store = Store(job(finished=True))
    store.admit()
    assert store.calls == [("Add", {"source": "/there"})]


def test_the_stores_reason_is_the_refusal() -> None:
    with pytest.raises(RefusedError, match="not signed"):
        Store(job(), job(finished=True, reason="not signed")).admit()


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([VarlinkError("org.ainos.Store.Busy", {"what": "verify a"})], "is busy: verify a"),
        ([job(1), job(2)], "started anew"),
        ([job(), UnavailableError("nobody there")], "does not answer: nobody there"),
        ([job()], "does not come to an end"),
    ],
)
def test_where_trying_later_may_help(answers: list[Message | Exception], said: str) -> None:
    with pytest.raises(UnavailableError, match=said):
        Store(*answers).admit()


def test_a_store_that_knows_no_such_call() -> None:
    with pytest.raises(RefusedError, match="MethodNotFound"):
        Store(VarlinkError("org.varlink.service.MethodNotFound", {})).admit()
