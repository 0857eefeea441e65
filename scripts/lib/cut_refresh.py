"""A refresh of update metadata that is cut: repositories before and after, and what may be left.

The machine trusts the first repository; then a release, and a newer root, were published. Whatever
a cut leaves must still be believed, and must not go back.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from ainit.child.source import open_source
from ainit.errors import AinosError
from ainit.ota.trust import Trust
from lib.cut_oracle import Files
from tests.support.release import IMAGE, Publisher

CHANNEL, OLD, NEW = "stable", "0.1.0", "0.2.0"
DIRECTORY = "update/metadata"

REFRESH = """
from ainit.child.source import open_source
from ainit.ota.trust import Trust
root = open(f"{WORK}/root.json", "rb").read()
with mounted(job["disk"] + "6", "ext4", "/tmp/state"):
    for repository in ("before", "after"):
        with open_source(f"{WORK}/{repository}") as source:
            trust = Trust("/tmp/state/update/metadata", root, source, lambda: job["now"])
            trust.refresh()
            trust.newest("stable", "base-x86_64")
"""


class Repositories:
    """Both, in a folder of their own, which is made anew."""

    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        publisher = Publisher(folder / "publisher")
        publisher.begin()
        publisher.publish(OLD)
        self.before, self.after = folder / "before", folder / "after"
        shutil.copytree(publisher.directory, self.before)
        publisher.publish(NEW)
        shutil.copytree(publisher.directory, self.after)
        self.root = publisher.root()
        self.now = publisher.now.timestamp() + 60
        self._answers: dict[object, str] = {}

    def files(self) -> dict[str, bytes]:
        """What the machine is given."""
        found = {"root.json": self.root}
        for place in (self.before, self.after):
            for path in place.rglob("*"):
                if path.is_file():
                    found[f"{place.name}/{path.relative_to(place)}"] = path.read_bytes()
        return found

    def lost(self, files: Files, done: bool) -> str:
        """What is wrong with metadata that a cut left; empty for nothing."""
        held = {path: data for path, data in files.items() if path.startswith(f"{DIRECTORY}/")}
        key = (frozenset(held.items()), done)
        if key not in self._answers:
            self._answers[key] = self._wrong(held, done=done)
        return self._answers[key]

    def _wrong(self, held: Files, *, done: bool) -> str:
        with tempfile.TemporaryDirectory() as name:
            for path, data in held.items():
                target = Path(name, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
            directory = f"{name}/{DIRECTORY}"
            Path(directory).mkdir(parents=True, exist_ok=True)
            try:
                with open_source(str(self.after)) as source:
                    trust = Trust(directory, self.root, source, lambda: self.now)
                    trust.refresh()
                    offered = trust.newest(CHANNEL, IMAGE)
            except (AinosError, OSError) as error:
                return f"the metadata is not believed any more: {error}"
            if offered is None or offered.release.version != NEW:
                return f"{NEW} is not offered"
            if done and self._is_believed(f"{name}/copy", held):
                return "the first repository is believed after the second one was"
        return ""

    def _is_believed(self, directory: str, held: Files) -> bool:
        """Whether what a machine holds would let it believe the first repository again."""
        for path, data in held.items():
            target = Path(directory, Path(path).relative_to(DIRECTORY))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        try:
            with open_source(str(self.before)) as source:
                Trust(directory, self.root, source, lambda: self.now).refresh()
        except (AinosError, OSError):
            return False
        return True
