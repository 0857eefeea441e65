from __future__ import annotations

import os
import threading

import pytest

from ainit.store.parallel import AT_ONCE, side_by_side


def test_results_are_in_the_order_of_the_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    both = threading.Barrier(2, timeout=60)

    def work(name: str) -> str:
        both.wait()
        return name.upper()

    assert side_by_side(work, ["b", "a"]) == ["B", "A"]
    assert side_by_side(work, []) == []


def test_there_is_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 100)
    names = [str(number) for number in range(50)]
    used = set(side_by_side(lambda _: threading.get_ident(), names))
    assert len(used) <= AT_ONCE


def test_a_fault_is_raised_once_all_are_done() -> None:
    def work(name: str) -> str:
        raise KeyError(name)

    with pytest.raises(KeyError):
        side_by_side(work, ["a", "b", "c"])
