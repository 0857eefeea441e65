"""What the loader finds on the ESP: after a power cut it is one thing or the other.

`install` writes ``ainos_1+3-0.efj`` and then shows it as ``.efi``; `rearm` and `condemn` change
digits, and each mixture of those is a counter as well (`esp_files` does each). The loader itself
must never be missing: for a moment there are two of its name, both whole. The new one is shown,
by its first character, before the old one is deleted.

    part = Esp(esp.device())
    tidy(part)
    install(part, "0.2.0", "/var/lib/ainos/update/staging/uki.efi", None)
"""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Callable

from ..errors import RefusedError, UnavailableError
from ..linux import fat
from . import slots
from .esp_files import IMAGES, Esp, discard, has_content, one, put, show, write_file

LOADERS = "EFI/BOOT"
_LOADER = {"x86_64": "BOOTX64.EFI", "aarch64": "BOOTAA64.EFI"}


def loader_name() -> str:
    """The file that the firmware of this machine starts.

    Raises UnavailableError for an architecture that has none.
    """
    found = _LOADER.get(platform.machine())
    if found is None:
        raise UnavailableError(f"no boot loader is known for {platform.machine()}")
    return found


def entries(part: Esp) -> list[slots.Entry]:
    """The counted entries that the loader sees."""
    found = (slots.entry(each.name) for each in part.names())
    return [each for each in found if each is not None]


def install(part: Esp, version: str, uki: str, approval: str | None) -> str:
    """Put an image on the ESP and show it to the loader, with all its tries; returns its name.

    Raises RefusedError when there is one of this version: that one may be running.
    """
    name = prepare(part, version, uki, approval)
    show(part, IMAGES, slots.hidden(name), name)
    return name


def prepare(part: Esp, version: str, uki: str, approval: str | None) -> str:
    """Put an image on the ESP, hidden, and return the name that `show` gives it."""
    stem = slots.stem(version)
    if any(each.stem == stem for each in entries(part)):
        raise RefusedError(f"there is an entry of {version} already")
    tidy(part)
    name = slots.Entry(stem, slots.TRIES).name
    if approval is not None:
        put(part, IMAGES, stem + slots.APPROVAL, approval)
    put(part, IMAGES, slots.hidden(name), uki)
    return name


def remove(part: Esp, stem: str) -> None:
    """Delete every entry of a version, then its approval."""
    for each in part.names():
        found = slots.entry(each.name)
        if found is not None and found.stem == stem:
            discard(part, IMAGES, each)
    tidy(part)


def rearm(part: Esp, path: str) -> str:
    """Give the entry of this path on the ESP its tries back; returns its name now."""
    return _recount(part, path, slots.rearmed)


def condemn(part: Esp, path: str) -> str:
    """Take its tries from the entry of this path; returns its name now."""
    return _recount(part, path, slots.condemned)


def remove_others(part: Esp, stem: str, selected: str) -> None:
    """Take every image of ours but the running one from the loader: that of ``stem``, or the entry
    without a counter that systemd-boot calls ``selected``. Raises RefusedError when that is not
    there.
    """
    ours = [each for each in part.names() if _is_image(each.name)]
    kept = [each for each in ours if _is_running(each.name, stem, selected)]
    if not kept:
        raise RefusedError(f"{stem}, which runs, is not on the ESP")
    for each in ours:
        if each not in kept:
            discard(part, IMAGES, each)
    tidy(part, stem)


def _is_image(name: str) -> bool:
    lower = name.lower()
    return lower.startswith("ainos_") and lower.endswith(slots.SUFFIX)


def _is_running(name: str, stem: str, selected: str) -> bool:
    found = slots.entry(name)
    return found.stem == stem if found else name.lower() == selected.lower()


def confirm(part: Esp, counted: str, selected: str, version: str) -> str:
    """Give the entry that this boot came from its tries back; returns its name now, or nothing when
    it has no counter and is none of ours. ``counted`` and ``selected`` are systemd-boot's
    LoaderBootCountPath and LoaderEntrySelected, ``version`` what is running.
    """
    if counted:
        return rearm(part, counted)
    found = [each.name for each in part.names() if each.name.lower() == selected.lower()]
    return adopt(part, found[0], version) if selected and found else ""


def adopt(part: Esp, name: str, version: str) -> str:
    """Make a counted entry of one whose counter a firmware lost that was cut while it counted down:
    only the short name is left then. ``name`` is that, in any case; returns the new one.
    """
    held = [each for each in part.names() if each.name.lower() == name.lower()]
    if not held or slots.entry(held[0].name) or not _is_image(name):
        raise UnavailableError(f"{name} is no entry without a counter")
    stem = slots.stem(version)
    if any(each.stem == stem for each in entries(part)):
        raise RefusedError(f"there is an entry of {version} already")
    tidy(part, stem)
    return _copied(part, held[0], slots.Entry(stem, slots.TRIES).name)


def _copied(part: Esp, held: fat.Name, new: str) -> str:
    """Show the same image by a name that its own does not become in place; returns that."""
    with tempfile.NamedTemporaryFile() as copy:
        with part.mounted() as root:
            write_file(copy.fileno(), f"{root}/{IMAGES}/{held.name}")
        put(part, IMAGES, slots.hidden(new), copy.name)
    show(part, IMAGES, slots.hidden(new), new)
    discard(part, IMAGES, held)
    return new


def _recount(part: Esp, path: str, following: Callable[[str], str]) -> str:
    folder, name = slots.split(path)
    new = following(name)
    held = [each for each in part.names(folder) if each.name in (name, new)]
    if not held:
        raise UnavailableError(f"{name} is not on the ESP")
    if all(each.name != new for each in held):
        if len(name) != len(new):
            return _copied(part, held[0], new)
        part.rename(folder, held[0], new)
    return new


def tidy(part: Esp, kept: str = "") -> None:
    """Delete what an interruption left: hidden files, a second entry of a version, which has fewer
    tries, and approvals of images that are not there, but for that of ``kept``, whose entry may
    have lost its name.
    """
    best: dict[str, slots.Entry] = {}
    for each in entries(part):
        known = best.setdefault(each.stem, each)
        if (each.left, -(each.done or 0)) > (known.left, -(known.done or 0)):
            best[each.stem] = each
    for held in part.names():
        found = slots.entry(held.name)
        stem = held.name.removesuffix(slots.APPROVAL)
        is_hidden = held.name.lower().endswith(slots.HIDDEN)
        is_second = found is not None and best[found.stem] != found
        is_approval = stem != held.name and stem.startswith(slots.stem(""))
        if is_hidden or is_second or (is_approval and stem not in (*best, kept)):
            discard(part, IMAGES, held)
    name = loader_name()
    loaders = [held for held in part.names(LOADERS) if held.name == name]
    hidden = [held for held in part.names(LOADERS) if held.name == _concealed(name)]
    for held in (*loaders[1:], *hidden):
        discard(part, LOADERS, held)


def replace_loader(part: Esp, path: str) -> bool:
    """Replace the loader that the firmware starts; says whether that was needed."""
    name = loader_name()
    hidden = _concealed(name)
    tidy(part)
    if has_content(part, LOADERS, name, path):
        return False
    old = one(part, LOADERS, name)
    put(part, LOADERS, hidden, path)
    show(part, LOADERS, hidden, name)
    discard(part, LOADERS, old)
    return True


def _concealed(loader: str) -> str:
    return "_" + loader[1:]
