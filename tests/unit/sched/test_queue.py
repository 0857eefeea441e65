from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.sched import queue as module
from ainit.sched.queue import Kind, Queue, Rules, Usage, Wish

NOW = 10_000.0


def wish(name: str, /, **more: object) -> Wish:
    fields: dict[str, object] = {"kind": Kind.JOB, "profiles": ("2g.20gb",), "owner": "kim"}
    return Wish(name, **{**fields, "since": NOW, **more})  # type: ignore[arg-type]


def waiting(*wishes: Wish, rules: Rules | None = None, usage: Usage | None = None) -> Queue:
    queue = Queue(rules, usage)
    for each in wishes:
        assert queue.submit(each, NOW)
    return queue


def names(queue: Queue, now: float = NOW) -> list[str]:
    return [each.wish.name for each in queue.standings(now)]


def test_who_comes_first_is_first() -> None:
    assert names(waiting(wish("b", since=NOW - 2), wish("a", since=NOW - 1))) == ["b", "a"]


def test_at_the_same_time_the_name_decides() -> None:
    assert names(waiting(wish("b"), wish("a"))) == ["a", "b"]


def test_a_higher_priority_goes_first() -> None:
    queue = waiting(wish("a", priority=-1), wish("b"), wish("c", priority=5))
    assert names(queue) == ["c", "b", "a"]


def test_waiting_makes_up_for_a_priority() -> None:
    old, urgent = wish("old", since=NOW - 6 * module.AGEING_S), wish("urgent", priority=5)
    assert names(waiting(old, urgent)) == ["old", "urgent"]


def test_an_agent_goes_before_every_job() -> None:
    agent = wish("agent", kind=Kind.AGENT, priority=-100)
    assert names(waiting(wish("job", priority=100, since=1.0), agent)) == ["agent", "job"]


def test_who_has_waited_too_long_goes_before_all() -> None:
    rules = Rules(wait_max_s=100.0)
    queue = waiting(wish("urgent", priority=100), wish("old", since=NOW - 100), rules=rules)
    first, second = queue.standings(NOW)
    assert (first.wish.name, first.overdue) == ("old", True)
    assert (second.wish.name, second.overdue) == ("urgent", False)


def test_the_oldest_of_those_first() -> None:
    rules = Rules(wait_max_s=100.0)
    old, older = wish("old", since=NOW - 200, priority=50), wish("older", since=NOW - 300)
    assert names(waiting(old, older, rules=rules)) == ["older", "old"]


def test_nobody_loses_his_place_by_asking_again() -> None:
    queue = waiting(wish("a", since=NOW - 50), wish("b", since=NOW - 20))
    queue.submit(wish("a", since=NOW, priority=1), NOW)
    first = queue.standings(NOW)[0].wish
    assert (first.name, first.since, first.priority) == ("a", NOW - 50, 1)


def test_nobody_waits_since_a_time_that_has_not_come() -> None:
    queue = waiting(wish("a", since=NOW + 500), wish("b", since=0.0))
    assert {each.wish.since for each in queue.standings(NOW)} == {NOW}


def test_who_leaves_is_gone() -> None:
    queue = waiting(wish("a"), wish("b"))
    left = queue.leave("a")
    assert left is not None
    assert left.name == "a"
    assert queue.leave("a") is None
    assert (names(queue), len(queue), "a" in queue, "b" in queue) == (["b"], 1, False, True)


def test_the_queue_is_bounded() -> None:
    queue = waiting(*(wish(f"job{number}") for number in range(module.WAITING_MAX)))
    assert not queue.submit(wish("one-more"), NOW)
    assert queue.submit(wish("job0", priority=9), NOW)


def test_who_has_used_much_stands_behind_who_has_used_little() -> None:
    usage = Usage(Rules(), {"kim": 1000.0, "ada": 10.0}, NOW)
    queue = waiting(wish("a", owner="kim"), wish("b", owner="ada"), usage=usage)
    assert names(queue) == ["b", "a"]


def test_a_larger_share_may_use_more() -> None:
    rules = Rules(shares={"kim": 4.0})
    usage = Usage(rules, {"kim": 1000.0, "ada": 1000.0}, NOW)
    queue = waiting(wish("a", owner="ada"), wish("b", owner="kim"), rules=rules, usage=usage)
    assert names(queue) == ["b", "a"]


def test_who_has_used_just_his_share_has_half_of_it_left() -> None:
    usage = Usage(Rules(), {"kim": 500.0, "ada": 500.0}, NOW)
    assert usage.share_left("kim", ["kim", "ada"]) == pytest.approx(0.5)
    assert Usage(Rules()).share_left("kim", ["kim", "ada"]) == 1.0


def test_what_is_held_is_charged_and_forgotten() -> None:
    rules = Rules(half_life_s=100.0)
    usage = Usage(rules, {}, 0.0)
    usage.advance(1.0, {"kim": 4})
    assert usage.to_record()["used"] == {"kim": pytest.approx(4.0, abs=0.1)}
    usage.advance(101.0, {})
    assert usage.to_record()["used"] == {"kim": pytest.approx(2.0, abs=0.1)}
    usage.advance(10_000.0, {})
    assert usage.to_record()["used"] == {}


def test_what_is_held_for_ever_comes_to_a_bound() -> None:
    usage = Usage(Rules(half_life_s=100.0))
    for second in range(0, 5000, 10):
        usage.advance(float(second), {"kim": 1})
    assert usage.to_record()["used"] == {"kim": pytest.approx(100.0 / 0.6931, rel=0.01)}


def test_a_clock_that_runs_back_charges_nothing() -> None:
    usage = Usage(Rules(), {"kim": 10.0}, 100.0)
    usage.advance(50.0, {"kim": 8})
    assert usage.to_record() == {"used": {"kim": 10.0}, "at": 100.0}


@pytest.mark.parametrize(("rank", "weight"), [(0, 1.0), (10, 2.0), (-10, 0.5), (1e9, 1024.0)])
def test_ten_points_double_a_weight(rank: float, weight: float) -> None:
    standing = module.Standing(wish("a"), 1, 0.0, 1.0, rank, False)
    assert standing.weight == pytest.approx(weight)


WISHES = st.lists(
    st.builds(
        Wish,
        name=st.text("abcdef", min_size=1, max_size=3),
        kind=st.sampled_from(Kind),
        profiles=st.just(("1g.10gb",)),
        owner=st.sampled_from(["kim", "ada", "agent"]),
        since=st.integers(0, int(2 * NOW)),
        priority=st.integers(-100, 100),
    ),
    max_size=12,
)


@given(WISHES)
def test_the_order_does_not_depend_on_the_order_of_asking(wishes: list[Wish]) -> None:
    unique = {each.name: each for each in wishes}
    there, back = list(unique.values()), list(reversed(unique.values()))
    assert names(waiting(*there)) == names(waiting(*back))


@given(WISHES, st.integers(1, 1_000_000))
def test_everybody_is_first_of_his_kind_one_day(wishes: list[Wish], later: int) -> None:
    """However high the others' priorities: who waits is overdue after ``wait_max_s``."""
    unique = {each.name: each for each in wishes}
    queue = waiting(*unique.values(), rules=Rules(wait_max_s=later))
    old = [each for each in queue.standings(NOW + later) if each.wish.kind is Kind.JOB]
    assert all(each.overdue for each in old)
    assert [each.waited_s for each in old] == sorted((e.waited_s for e in old), reverse=True)
