"""The boot as it is computed from records: chain, blame, phases."""

from __future__ import annotations

from ainit.policy.timeline import Boot, Row, Span, blame, critical_chain, read, sentence
from tests.support.boot import DEVICES, GPU, PHASES, SPEECH, unit


def names(boot: Boot) -> list[str]:
    return [link.row.name for link in critical_chain(boot)]


def sentences(*units: dict[str, object]) -> list[str]:
    return [sentence(link) for link in critical_chain(read(units, PHASES))]


def test_the_chain_goes_back_from_the_last_essential_unit() -> None:
    quick = unit("quick", 3.0, 3.0, 3.5)
    assert sentences(quick, DEVICES, SPEECH, GPU) == [
        "speech became ready at 25.1 s: waited 17.2 s for gpu, started in 4.9 s",
        "gpu became ready at 20.2 s: waited 2.0 s for devices, started in 15.2 s",
        "devices became ready at 5.0 s: wanted at 3.0 s, started in 2.0 s",
    ]


def test_without_a_named_blocker_it_is_the_last_of_those_it_starts_after() -> None:
    speech = {**SPEECH, "blocked_by": None}
    gpu = {**GPU, "blocked_by": ""}
    assert names(read([DEVICES, gpu, speech], PHASES)) == ["speech", "gpu", "devices"]


def test_what_was_ready_before_or_after_the_wait_was_not_waited_for() -> None:
    old = unit("old", 1.0, 1.0, 2.0)
    late = unit("late", 3.0, 3.0, 9.0, essential=False)
    last = unit("last", 4.0, 6.0, 8.0, after=["old", "late"])
    assert sentences(old, late, last) == [
        "last became ready at 8.0 s: waited 2.0 s, started in 2.0 s"
    ]


def test_of_two_that_end_together_one_is_chosen_for_good() -> None:
    a, b = unit("a", 3.0, 3.0, 9.0), unit("b", 3.0, 3.0, 9.0)
    last = unit("last", 3.0, 9.0, 10.0, after=["a", "b"])
    assert names(read([a, b, last], PHASES)) == names(read([last, b, a], PHASES)) == ["last", "b"]
    assert names(read([a, b], PHASES)) == names(read([b, a], PHASES)) == ["b"]


def test_a_unit_that_failed_lets_go_those_after_it() -> None:
    broken = unit("broken", 3.0, 3.0, None, state="failed", since=8.0)
    last = unit("last", 3.0, 8.0, 9.0, after=["broken"])
    assert sentences(broken, last) == [
        "last became ready at 9.0 s: waited 5.0 s for broken, started in 1.0 s",
        "broken was failed at 8.0 s: wanted at 3.0 s",
    ]


def test_a_blocker_that_is_no_unit_ends_the_chain() -> None:
    last = unit("last", 3.0, 8.0, 9.0, blocked_by="a GPU")
    assert sentences(last) == [
        "last became ready at 9.0 s: waited 5.0 s for a GPU, started in 1.0 s"
    ]


def test_a_unit_that_waited_for_the_boot_set_leads_to_the_last_early_one() -> None:
    store = unit("store", 2.1, 2.1, 2.9)
    quick = unit("quick", 2.1, 2.1, 2.5)
    x = unit("x", 2.1, 3.1, 9.0)
    others = (unit("open", 2.1, 2.1, None, state="starting"), unit("z", 2.1, 2.1, 3.0))
    assert sentences(quick, x, store, *others) == [
        "x became ready at 9.0 s: waited 1.0 s for the boot set to be measured, started in 5.9 s",
        "store became ready at 2.9 s: wanted at 2.1 s, started in 0.8 s",
    ]


def test_a_dependency_comes_before_the_stage_of_the_boot() -> None:
    store = unit("store", 2.1, 2.1, 2.9)
    first = unit("first", 2.1, 3.0, 5.0)
    last = unit("last", 2.1, 5.0, 9.0, after=["first"])
    assert names(read([store, first, last], PHASES)) == ["last", "first", "store"]


def test_a_unit_of_the_healthy_stage_waited_for_that() -> None:
    last = unit("confirm", 2.1, 25.6, 26.0)
    (link, *_) = critical_chain(read([last], PHASES))
    assert link.blocker == "the machine to be healthy"


def test_a_wait_of_milliseconds_is_one_when_pid_1_says_so() -> None:
    first, last = unit("first", 3.0, 3.0, 3.01), unit("last", 3.0, 3.01, 3.02, blocked_by="first")
    assert names(read([first, last], PHASES)) == ["last", "first"]
    assert sentences(first, last)[0] == (
        "last became ready at 3.0 s: waited 0.0 s for first, started in 0.0 s"
    )


def test_a_wait_of_a_millisecond_is_none_when_nobody_says_so() -> None:
    first, last = unit("first", 2.0, 2.0, 3.0), unit("last", 3.0, 3.001, 4.0, after=["first"])
    assert sentences(first, last) == [
        "last became ready at 4.0 s: wanted at 3.0 s, started in 1.0 s"
    ]


def test_a_wait_that_nobody_explains_is_told_from_a_twentieth_of_a_second_on() -> None:
    assert sentences(unit("a", 3.0, 3.06, 4.06)) == [
        "a became ready at 4.1 s: waited 0.1 s, started in 1.0 s"
    ]
    assert sentences(unit("a", 3.0, 3.04, 4.04)) == [
        "a became ready at 4.0 s: wanted at 3.0 s, started in 1.0 s"
    ]


def test_who_came_to_rest_as_a_unit_was_wanted_may_have_been_waited_for() -> None:
    first, last = unit("first", 2.0, 2.0, 3.0), unit("last", 3.0, 5.0, 8.0, blocked_by="first")
    assert names(read([first, last], PHASES)) == ["last", "first"]


def test_a_blocker_that_starts_anew_is_not_what_was_waited_for() -> None:
    gpu = unit("gpu", 3.0, 3.0, None, state="starting")
    assert sentences(gpu, unit("last", 3.0, 8.0, 9.0, blocked_by="gpu")) == [
        "last became ready at 9.0 s: waited 5.0 s, started in 1.0 s"
    ]


def test_a_unit_that_was_refused_before_it_was_started_ends_the_chain() -> None:
    refused = unit("refused", 3.0, None, None, state="refused", since=8.0, after=["devices"])
    chain = critical_chain(
        read([DEVICES, refused, unit("x", 3.0, 8.0, 9.0, after=["refused"])], [])
    )
    assert [sentence(link) for link in chain][1:] == [
        "refused was refused at 8.0 s: wanted at 3.0 s"
    ]
    assert (chain[1].blocker, chain[1].next) == ("", "")


def test_a_blocker_without_times_ends_the_chain() -> None:
    unknown = unit("unknown", None, None, 8.0)
    last = unit("last", 3.0, 8.0, 9.0, after=["unknown"])
    assert sentences(unknown, last)[1:] == ["unknown became ready at 8.0 s"]


def test_a_circle_in_the_records_ends() -> None:
    a = unit("a", 3.0, 8.0, 8.0, blocked_by="b")
    b = unit("b", 3.0, 8.0, 8.0, blocked_by="a")
    assert names(read([a, b], PHASES)) == ["b", "a"]


def test_a_target_has_no_process() -> None:
    target = unit("all", 3.0, None, 25.1, after=["speech"], blocked_by="speech")
    assert sentences(DEVICES, GPU, {**SPEECH, "essential": False}, target)[0] == (
        "all became ready at 25.1 s: waited 22.1 s for speech"
    )


def test_what_the_boot_did_not_start_is_not_its_end() -> None:
    on_demand = unit("on-demand", 28.0, 28.0, 30.0, trigger="socket")
    afterwards = unit("afterwards", 600.0, 600.0, 601.0)
    optional = unit("optional", 3.0, 3.0, 30.0, essential=False)
    restarted = unit("restarted", 3.0, 500.0, 501.0, restarts=2)
    units = [on_demand, afterwards, optional, restarted, DEVICES]
    assert names(read(units, PHASES)) == ["devices"]


def test_what_was_triggered_during_the_boot_is_not_its_end() -> None:
    on_demand = unit("on-demand", 5.0, 5.0, 24.0, trigger="socket")
    assert names(read([DEVICES, on_demand], PHASES)) == ["devices"]


def test_what_was_wanted_as_the_machine_became_healthy_is_of_the_boot() -> None:
    units = [unit(f"at-{at}", at, at, 30.0) for at in (25.501, 25.51)]
    assert [row.name for row in read(units, PHASES).during()] == ["at-25.501"]


def test_a_restart_during_the_boot_counts() -> None:
    last = unit("last", 3.0, 8.0, 25.5, restarts=1)
    assert names(read([DEVICES, last], PHASES)) == names(read([DEVICES, last], [])) == ["last"]


def test_a_restarted_unit_says_that_its_times_are_those_of_the_last_start() -> None:
    last = unit("last", 3.0, 8.0, 9.0, restarts=2)
    (said,) = sentences(last)
    assert said.endswith("started in 1.0 s, restarted 2 times, the last start counts")


def test_a_restarted_dependency_is_not_what_was_waited_for() -> None:
    gpu = {**GPU, "spawned_at": 99.0, "ready_at": 100.0, "restarts": 1}
    assert names(read([DEVICES, gpu, SPEECH], PHASES)) == ["speech", "devices"]


def test_a_unit_has_come_to_rest_when_it_is_ready_or_has_ended() -> None:
    records = [
        unit("ready", 3.0, 3.0, 5.0, state="ready", since=6.0),
        unit("exited", 3.0, 3.0, None, state="exited", since=6.0),
        unit("starting", 3.0, 3.0, None, state="starting", since=3.0),
    ]
    assert [row.settled for row in read(records, PHASES).rows] == [5.0, 6.0, None]


def test_nothing_ready_no_chain() -> None:
    assert critical_chain(read([unit("a", 3.0, 3.0, None, state="starting")], [])) == []
    assert critical_chain(read([], [])) == []


def test_a_boot_that_is_not_over_counts_what_is_ready() -> None:
    assert names(read([DEVICES, GPU], PHASES[:4])) == ["gpu", "devices"]


def test_blame_is_sorted_by_the_time_that_starting_took() -> None:
    open_ = unit("slow", 3.0, 3.0, None, state="starting")
    never = unit("never", 3.0, None, None, state="waiting")
    tie = unit("a-tie", 3.0, 4.0, 8.9)
    found = blame(read([never, open_, DEVICES, SPEECH, tie, GPU], PHASES))
    assert [row.name for row in found] == ["gpu", "a-tie", "speech", "devices", "slow"]
    assert [row.waited for row in found][:3] == [2.0, 1.0, 17.2]


def test_starts_that_differ_by_less_than_a_millisecond_are_sorted_by_name() -> None:
    found = blame(read([unit("b", 3.0, 3.0, 4.0004), unit("a", 3.0, 3.0, 4.0)], PHASES))
    assert [row.name for row in found] == ["a", "b"]


def test_phases_before_the_kernel_lie_below_zero() -> None:
    spans = read([], PHASES).phases
    assert [(span.name, span.start, span.end) for span in spans] == [
        ("firmware", -5.0, -1.0),
        ("loader", -1.0, 0.0),
        ("kernel", 0.0, 2.0),
        ("ainit", 2.0, 3.0),
        ("agents", 3.0, 25.5),
    ]
    assert [span.seconds for span in spans] == [4.0, 1.0, 2.0, 1.0, 22.5]
    assert read([], PHASES).healthy_at == 25.5
    assert read([], PHASES[:4]).healthy_at is None


def test_values_of_the_wrong_type_are_unknown() -> None:
    wrong = {"name": "a", "wanted_at": "x", "ready_at": True, "after": 7, "restarts": "x"}
    boot = read([wrong, {}], [{}])
    assert boot.rows == tuple(Row(name, "", True, None, None, None, None) for name in ("a", ""))
    assert boot.phases == (Span("", 0.0, 0.0),)
    assert critical_chain(boot) == []
    assert blame(boot) == []
