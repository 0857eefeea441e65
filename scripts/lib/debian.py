"""Debian's archive, read without touching the host's own package state.

A second apt configuration for each architecture, under ``build/cache/apt-<architecture>`` (own
sources, lists and caches; indexes verified with the Debian archive keyring), resolves package names
to exact files. Builds read the result only, `lib.debian_lock`: they need no index, and take the
same bytes until ``make relock``.

Files travel through apt's own downloader, so the host's proxy and credentials apply.

    for deb in Archive().download(debian_lock.read(group="root")): ...
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from lib.architecture import X86_64, Architecture
from lib.debian_lock import Entry, parse_list
from lib.host import CACHE, CommandError, HostError, published, run, sha256_file
from lib.mirrors import Mirrors, discover_mirrors
from lib.progress import Progress, step

SUITE = "trixie"
# All that a list may name from. Where a package lies shows in its pool path, which the lock holds.
COMPONENTS = ("main", "contrib", "non-free", "non-free-firmware")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
APT_HELPER = "/usr/lib/apt/apt-helper"
DOWNLOAD_DEADLINE_S = 1800


class ArchiveError(HostError):
    """The archive cannot be used, or does not hold what was asked for."""


def parse_records(text: str, group: str) -> list[Entry]:
    """Return the entries that ``apt-cache show`` printed, one paragraph a package."""
    entries = []
    for paragraph in text.strip().split("\n\n"):
        record = dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", paragraph, re.MULTILINE))
        entries.append(
            Entry(
                group,
                record["Package"],
                record["Version"],
                record["Architecture"],
                record["Filename"].removeprefix("./"),
                int(record["Size"]),
                record["SHA256"],
            )
        )
    return entries


class Archive:
    """Debian trixie for one architecture, with its updates and its security archive; another suite
    comes without those.
    """

    def __init__(
        self, cache: Path = CACHE, architecture: Architecture = X86_64, suite: str = SUITE
    ) -> None:
        self._cache = cache
        self._architecture = architecture
        self._suite = suite
        self._mirrors: Mirrors | None = None

    @property
    def _folder(self) -> str:
        suite = "" if self._suite == SUITE else f"-{self._suite}"
        return f"apt-{self._architecture.debian}{suite}"

    @property
    def mirrors(self) -> Mirrors:
        """The mirrors in use, found on first need."""
        if self._mirrors is None:
            form = "$(ORIGIN)|$(RELEASE)|$(REPO_URI)"
            targets = run(["apt-get", "indextargets", "--format", form, "Created-By: Packages"])
            self._mirrors = discover_mirrors(targets, os.environ)
        return self._mirrors

    def update(self) -> None:
        """Fetch the indexes. Raises ArchiveError when the mirrors do not answer."""
        root = self._cache / self._folder
        for part in ("lists/partial", "cache/archives/partial"):
            (root / part).mkdir(parents=True, exist_ok=True)
        (root / "status").touch()
        suites = [(self.mirrors.main, self._suite)]
        if self._suite == SUITE:
            suites = [(self.mirrors.main, f"{SUITE} {SUITE}-updates")]
            suites.append((self.mirrors.security, f"{SUITE}-security"))
        with published(root / "debian.sources") as file:
            file.write_text(
                "\n".join(
                    f"Types: deb\nURIs: {uri}\nSuites: {names}\n"
                    f"Components: {' '.join(COMPONENTS)}\n"
                    f"Architectures: {self._architecture.debian}\nSigned-By: {KEYRING}\n"
                    for uri, names in suites
                )
            )
        try:
            self._apt("apt-get", "update", "--error-on=any")
        except CommandError as error:
            raise ArchiveError(f"the Debian archive cannot be read\n{error}") from error

    def resolve(self, names: Iterable[str], group: str = "") -> list[Entry]:
        """Return the newest version of each named package. Needs `update` first."""
        wanted = sorted(set(names))
        if not wanted:
            return []
        try:
            shown = self._apt("apt-cache", "show", "--no-all-versions", *wanted)
        except CommandError as error:
            raise ArchiveError(f"not in {self._suite}:\n{error}") from error
        entries = sorted(parse_records(shown, group))
        missing = set(wanted) - {entry.package for entry in entries}
        if missing:
            raise ArchiveError(f"not in {self._suite}: {', '.join(sorted(missing))}")
        return entries

    def names(self, beginning: str) -> list[str]:
        """The packages whose names begin like this. Needs `update` first."""
        return sorted(self._apt("apt-cache", "pkgnames", beginning).split())

    def closure(self, names: Iterable[str]) -> list[str]:
        """Return the names with all that they depend on (not what they recommend)."""
        wanted = sorted(set(names))
        if not wanted:
            return []
        planned = self._apt(
            "apt-get", "install", "--simulate", "--no-install-recommends", "-y", *wanted
        )
        return sorted(set(re.findall(r"^Inst (\S+)", planned, re.MULTILINE)))

    def resolve_list(self, path: Path) -> list[Entry]:
        """Resolve a package list; its file name without the suffix is the group."""
        wanted = parse_list(path.read_text(), str(path), self._architecture)
        names = {*wanted.single, *self.closure(wanted.closure)} - wanted.excluded
        return self.resolve(names, path.stem)

    def download(self, entries: Sequence[Entry], dest: Path | None = None) -> list[Path]:
        """Return the files of the entries, in order, fetched where they are not cached.

        Every file is checked against its SHA-256, cached or not. Raises ArchiveError.
        """
        folder = dest or self._cache / "debian"
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / entry.basename for entry in entries]
        missing = [
            (entry, path)
            for entry, path in zip(entries, paths, strict=True)
            if not (path.exists() and sha256_file(path) == entry.sha256)
        ]
        if missing:
            with step("debian packages") as progress:
                self._fetch(missing, progress)
                progress.note(f"{len(missing)} files")
        return paths

    def _fetch(self, missing: Sequence[tuple[Entry, Path]], progress: Progress) -> None:
        """Download in one call of apt's helper, showing the bytes that have arrived."""
        parts = {path: path.with_name(f"{path.name}.part") for _, path in missing}
        command = [APT_HELPER, "-o", "APT::Sandbox::User=root", "download-file"]
        for entry, path in missing:
            parts[path].unlink(missing_ok=True)
            command += [self.mirrors.uri(entry.filename), str(parts[path])]
            command += [f"SHA256:{entry.sha256}"]
        total = sum(entry.size for entry, _ in missing)
        log = self._cache / "apt-download.log"
        deadline = time.monotonic() + DOWNLOAD_DEADLINE_S
        with (
            log.open("w+") as output,
            subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            ) as process,
        ):
            try:
                while process.poll() is None and time.monotonic() < deadline:
                    done = sum(part.stat().st_size for part in parts.values() if part.exists())
                    progress.update(done, total, f"{done >> 20} of {total >> 20} MiB")
                    time.sleep(0.1)
            finally:
                process.kill()
        lost = []
        for entry, path in missing:
            if parts[path].exists() and sha256_file(parts[path]) == entry.sha256:
                parts[path].rename(path)
            else:
                lost.append(entry)
        if lost:
            self._explain_loss(lost, log.read_text(errors="replace"))

    def _explain_loss(self, lost: Sequence[Entry], output: str) -> None:
        """Raise ArchiveError, telling an archive that has moved on from one that is away."""
        names = ", ".join(f"{entry.package} {entry.version}" for entry in lost)
        if re.search(r"\b404\b|Not Found|No such file", output):
            raise ArchiveError(
                f"the archive has moved on: run make relock\n  no longer there: {names}"
            )
        tail = "\n".join(output.splitlines()[-10:])
        raise ArchiveError(f"could not download {names}; is the mirror reachable?\n{tail}")

    def _apt(self, tool: str, *arguments: str) -> str:
        """Run an apt tool on our own sources, lists and (empty) installed state."""
        root = self._cache.resolve() / self._folder
        options = {
            "Dir::Etc::SourceList": root / "debian.sources",
            "Dir::Etc::SourceParts": "-",
            "Dir::Etc::Preferences": "-",
            "Dir::Etc::PreferencesParts": "-",
            "Dir::State::Lists": root / "lists",
            "Dir::State::Status": root / "status",
            "Dir::State::Extended_States": root / "extended_states",
            "Dir::Cache": root / "cache",
            "APT::Architecture": self._architecture.debian,
            "APT::Architectures": self._architecture.debian,
            "APT::Sandbox::User": "root",
            "APT::Get::List-Cleanup": "true",
            "Acquire::Languages": "none",
        }
        command = [tool]
        for key, value in options.items():
            command += ["-o", f"{key}={value}"]
        return run([*command, *arguments], env={"LC_ALL": "C.UTF-8"})
