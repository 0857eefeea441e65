"""The tightest ``[sandbox]`` that still allows all that was recorded, and nothing new.

The rules (docs/sandbox.md has them for people): an entry of the profile of which nothing was used
goes. One that was written to stays as it is, for who writes makes new names. One that was only read
or executed becomes the deepest path that holds all that was used of it, when all of that lies on a
file system that nobody writes; so there are never more entries than before. What was written or
executed by the profile, and only read in fact, may be read. A class of system calls goes when every
recorded call is allowed without it, by the rules that the filter is compiled from. Of whatever the
record is not whole, nothing goes.

>>> from .sandbox import Profile
>>> usage = Usage("x86_64")
>>> wide = Profile({"read": ["/srv", "/opt"], "system_calls": ["jit"]})
>>> usage.begin(grants.of(wide))
>>> usage.starts = 1
>>> usage.path("read", "/srv/a/1", "/srv", by="openat", now=1.0, fixed=True)
>>> propose(wide, usage).table
{'read': ['/srv/a/1']}
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from posixpath import commonpath

from . import grants, sandbox
from .grants import CALL, CALLS, CONNECT, EXECUTE, EXECUTE_WRITTEN, READ, WRITE
from .sandbox import Profile, lies_in
from .shadow import allows_call, denials, is_everybodys
from .usage import UNREAD, Usage, Use

KEEP, NARROW, DROP = "keep", "narrow", "drop"

Table = dict[str, object]


@dataclass(frozen=True, slots=True)
class Line:
    """What becomes of one thing that the profile gives: kept, narrowed to ``new``, or dropped.

    ``uses`` are the evidence, without which it is dropped. ``new`` are grants.
    """

    verdict: str
    matter: str
    what: str
    new: tuple[tuple[str, str], ...]
    uses: tuple[Use, ...]


@dataclass(frozen=True, slots=True)
class Proposal:
    """``table`` is a manifest's ``[sandbox]``. ``denied`` is what a shadow run of the record found
    that it would deny and the present profile does not, ``looser`` what the present profile does
    not give: one of which either is not empty is not to be applied.
    """

    table: Table
    lines: tuple[Line, ...]
    before: int  # grants
    after: int
    denied: tuple[Use, ...]
    looser: tuple[tuple[str, str], ...]

    @property
    def is_tighter(self) -> bool:
        """Whether anything goes, and nothing that is needed."""
        changes = any(line.verdict != KEEP for line in self.lines)
        return changes and not self.denied and not self.looser


def propose(profile: Profile, usage: Usage) -> Proposal:
    """What a profile can be tightened to. Raises ValueError when nothing was recorded yet, or not
    with all that the profile gives.
    """
    if not usage.starts:
        raise ValueError("nothing was recorded yet")
    if unread := usage.dropped[UNREAD]:
        raise ValueError(f"{unread} of its calls could not be read: begin anew")
    if lacking := usage.lacks(grants.of(profile)):
        more = ", ".join(f"{matter} {what}" for matter, what in lacking)
        raise ValueError(f"it did not have {more} while it was recorded")
    denied = denials(profile, usage)
    table, kept = _paths(profile, usage)
    found = Profile(table)
    if profile.execute_written and _overlap(found):
        table["execute_written"] = True
    if profile.certificate:
        table["certificate"] = True
    classes = _classes(profile, usage)
    network = _network(profile, usage, classes)
    if network != sandbox.NONE:
        table["network"] = network
    if listed := [name for name in profile.system_calls if name in classes]:
        table["system_calls"] = listed
    made = Profile(table, capabilities=profile.capabilities, has_gpu=profile.has_gpu)
    lines = (*kept, *_others(profile, made, usage))
    return Proposal(
        table,
        lines,
        len(grants.of(profile)),
        len(grants.of(made)),
        tuple(use for use in denials(made, usage) if use not in denied),
        tuple(grants.beyond(made, profile)),
    )


def _paths(profile: Profile, usage: Usage) -> tuple[Table, list[Line]]:
    """The lists of paths, and what becomes of each entry."""
    lists: dict[str, list[str]] = {READ: [], WRITE: [], EXECUTE: []}
    given = [
        *((WRITE, entry) for entry in profile.write),
        *((EXECUTE, entry) for entry in profile.execute),
        *((READ, entry) for entry in profile.read),
    ]
    paths = usage.of(READ, WRITE, EXECUTE)
    used = {entry: [use for use in paths if lies_in(use.what, entry)] for _, entry in given}
    for matter, entry in given:  # what is written or executed first: it may be read, too
        uses = used[entry]
        if matter != READ and any(use.matter == matter for use in uses):
            lists[matter].append(entry if matter == WRITE else _narrowed(entry, uses))
    for _, entry in given:
        needed = [
            use for use in used[entry] if use.matter == READ and not _is_read(use.what, lists)
        ]
        if needed:
            lists[READ].append(_narrowed(entry, needed))
    lists[READ] = [
        path
        for path in dict.fromkeys(lists[READ])
        if not any(path != other and lies_in(path, other) for other in lists[READ])
    ]
    table: Table = {matter: paths for matter, paths in lists.items() if paths}
    lines = [_line(matter, entry, used[entry], lists) for matter, entry in given]
    return table, lines


def _line(matter: str, entry: str, uses: Sequence[Use], lists: dict[str, list[str]]) -> Line:
    if entry in lists[matter]:
        return Line(KEEP, matter, entry, ((matter, entry),), tuple(uses))
    new = tuple(
        (kind, path) for kind, paths in lists.items() for path in paths if lies_in(path, entry)
    )
    return Line(NARROW if new else DROP, matter, entry, new, tuple(uses) if new else ())


def _is_read(path: str, lists: dict[str, list[str]]) -> bool:
    places = (*lists[WRITE], *lists[EXECUTE])
    return is_everybodys(path) or any(lies_in(path, place) for place in places)


def _narrowed(entry: str, uses: Iterable[Use]) -> str:
    """The deepest path that holds all these uses of an entry, if nobody can change what is there:
    a file elsewhere may be replaced by another of its name, which the agent would not see.
    """
    found = list(uses)
    if not all(use.fixed for use in found):
        return entry
    return commonpath([use.what for use in found])


def _overlap(profile: Profile) -> bool:
    return any(
        lies_in(one, other) or lies_in(other, one)
        for one in profile.write
        for other in profile.execute
    )


def _classes(profile: Profile, usage: Usage) -> tuple[str, ...]:
    """The classes without which a recorded call would be denied. A call that is denied with all of
    them is none that needs any.
    """
    calls = profile.calls
    if usage.dropped[CALLS]:
        return calls
    made = [use for use in usage.of(CALLS) if allows_call(calls, usage.machine, use)]
    for name in profile.calls:
        fewer = tuple(each for each in calls if each != name)
        if all(allows_call(fewer, usage.machine, use) for use in made):
            calls = fewer
    return calls


def _network(profile: Profile, usage: Usage, classes: Sequence[str]) -> object:
    """The value of ``network``. That other agents are called is not recorded: they stay."""
    if profile.network == sandbox.LOOPBACK:
        return sandbox.LOOPBACK if sandbox.INTERNET in classes else sandbox.NONE
    agents = [sandbox.AGENT_PREFIX + name for name in profile.agents]
    endpoints = _endpoints(profile, usage)
    if sandbox.INTERNET in classes and not endpoints:
        if not agents:
            return sandbox.LOOPBACK
        endpoints = list(profile.endpoints)  # a list of agents alone would be no network at all
    return [*(grants.endpoint(*each) for each in endpoints), *agents] or sandbox.NONE


def _endpoints(profile: Profile, usage: Usage) -> list[tuple[str, int]]:
    """Those that were used, or all if there may be more than was recorded."""
    if usage.dropped[CONNECT]:
        return list(profile.endpoints)
    used = {use.what for use in usage.of(CONNECT)}
    return [each for each in profile.endpoints if grants.endpoint(*each) in used]


def _others(profile: Profile, made: Profile, usage: Usage) -> list[Line]:
    """What becomes of whatever is no path."""
    after = grants.of(made)
    lines = []
    for matter, what in grants.of(profile):
        if matter not in (CALLS, CONNECT, CALL):
            continue
        kept = (matter, what) in after
        uses = tuple(_evidence(matter, what, profile, usage)) if kept else ()
        new = ((matter, what),) if kept else ()
        lines.append(Line(KEEP if kept else DROP, matter, what, new, uses))
    if profile.execute_written and not made.execute_written:
        lines.append(Line(DROP, EXECUTE_WRITTEN, "what it writes", (), ()))
    return lines


def _evidence(matter: str, what: str, profile: Profile, usage: Usage) -> Iterable[Use]:
    if matter == CONNECT:
        yield from (use for use in usage.of(CONNECT) if use.what == what)
    elif matter == CALLS:
        fewer = tuple(each for each in profile.calls if each != what)
        for use in usage.of(CALLS):
            if not allows_call(fewer, usage.machine, use):
                yield use
