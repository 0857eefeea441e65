"""What the supervisor and its order have done for them: PID 1 and the tests give their own."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..policy.plan import Record, Unit
    from ..policy.state import Event, State


class Effects:
    """``spawn`` raises RefusedError or OSError. ``allocate`` calls back with what became of it.
    ``changed`` is told of each new state, ``watch`` whose cgroup is to be watched for emptiness;
    it returns False when that is empty already. ``isolate`` carries out what quarantine takes:
    FREEZE, THAW and EVIDENCE.
    """

    def __init__(  # noqa: PLR0913 - PID 1 gives them all, a test those that it looks at
        self,
        *,
        spawn: Callable[[Unit, Record | None], tuple[int, int]],
        signal: Callable[[int, int], None],
        allocate: Callable[[Unit, Callable[[Event], None]], None],
        release: Callable[[Unit], None],
        measure: Callable[[], None],
        say: Callable[[str, str], None],
        now: Callable[[], float],
        changed: Callable[[Unit, State, str], None] = lambda unit, state, before: None,
        watch: Callable[[str, bool], bool] = lambda name, wanted: True,
        exhausted: Callable[[Unit, str], None] = lambda unit, reason: None,
        is_probe: Callable[[int], bool] = lambda pid: False,
        isolate: Callable[[str, str], None] = lambda name, action: None,
    ) -> None:
        self.spawn = spawn
        self.signal = signal
        self.allocate = allocate
        self.release = release
        self.measure = measure
        self.say = say
        self.now = now
        self.changed = changed
        self.watch = watch
        self.exhausted = exhausted
        self.is_probe = is_probe
        self.isolate = isolate
