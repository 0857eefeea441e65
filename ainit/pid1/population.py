"""Tells when the last process of a group is gone, for units whose main process left others behind;
or when all of them stand still.

A watch costs something only while it stands, so that 1,000 units that just run cost nothing. Not
kept over a re-exec: whoever resumes calls ``watch`` again. The kernel says nothing of a group that
is removed: whoever does that calls ``unwatch``.

    population = Population(events, tree, emptied)
    if not population.watch("weather"):
        ...                                   # it is empty already
"""

from __future__ import annotations

from ..linux.inotify import IN_IGNORED, IN_MODIFY, IN_Q_OVERFLOW, Inotify
from . import loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..linux.cgroup import Tree
    from .loop import Loop


class Population:
    """Watches groups through one descriptor. ``over`` is told the unit, once for each watch, when
    ``lasts`` does not hold of it any more; that is, if nothing else is said, when it is empty.
    """

    def __init__(
        self,
        events: Loop,
        tree: Tree,
        over: Callable[[str], None],
        lasts: Callable[[str], bool] | None = None,
    ) -> None:
        self._tree = tree
        self._over = over
        self._lasts = lasts or tree.populated
        self._inotify = Inotify()
        self._watches: dict[str, int] = {}
        self._names: dict[int, str] = {}
        events.add(self._inotify.fileno(), loop.READ, lambda _: self._on_events())

    def watch(self, name: str) -> bool:
        """Begin with a unit; again is the same. False when it is over, or its group not there.

        Raises OSError when the kernel has no watch left.
        """
        if name not in self._watches:
            try:
                wd = self._inotify.add(self._tree.events_path(name), IN_MODIFY)
            except FileNotFoundError:
                return False
            self._watches[name] = wd
            self._names[wd] = name
        if self._lasts(name):  # asked after the watch stands: nothing slips through
            return True
        self.unwatch(name)
        return False

    def unwatch(self, name: str) -> None:
        """End with a unit; one that is not watched is no error."""
        wd = self._watches.pop(name, None)
        if wd is not None:
            self._names.pop(wd, None)
            self._inotify.remove(wd)

    def _on_events(self) -> None:
        names: set[str] = set()
        for wd, mask, _ in self._inotify.read():
            if mask & IN_Q_OVERFLOW:
                names.update(self._watches)
            elif wd in self._names:
                name = self._names[wd]
                names.add(name)
                if mask & IN_IGNORED:  # the group was removed
                    del self._names[wd], self._watches[name]
        for name in sorted(names):
            if not self._lasts(name):
                self.unwatch(name)
                self._over(name)
