"""NVIDIA's driver in a root tree: modules, firmware, libraries, programs, licences.

    components = lay(root, selected(), kernel)

Nothing is started or configured here: the device service loads the modules and makes the nodes,
units start the daemons.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from lib import modules, nvidia_modules, nvidia_versions, sbom
from lib.anatomy import Anatomy
from lib.host import run
from lib.nvidia import (
    FABRIC_MANAGER_CONFIGURATION,
    FABRIC_MANAGER_DATA,
    FABRIC_MANAGER_PROGRAM,
    Driver,
)

LICENCES = "usr/share/doc/nvidia-driver"
PURL = "pkg:generic/nvidia/driver"
LICENCE = "LicenseRef-NVIDIA-Driver"
MODULES_LICENCE = "MIT OR GPL-2.0-only"


def lay(root: Path, driver: Driver, kernel: Path) -> list[sbom.Component]:
    """Lay the driver over a tree that has the kernel's modules; return what it consists of.

    ``kernel`` is what `lib.kernel.build` returned for the server set. Raises HostError when the
    modules do not build, or when CUDA libraries of the product need a newer driver.
    """
    built = nvidia_modules.build(driver, kernel)
    nvidia_modules.install(built, root, kernel)
    modules.index(root / "usr", (kernel / "version").read_text().strip(), kernel / "System.map")
    components = _module_components(driver, sorted(built.glob("*.ko")))
    return [*lay_user_space(root, driver), *components]


def lay_over(root: Path, driver: Driver, objects: Path, certificate: Path) -> list[sbom.Component]:
    """Check the modules in a tree of another builder's, lay the rest; return what it consists of.

    ``objects`` is where the tree's kernel was compiled. Raises HostError when its kernel would not
    take the modules, when they are of another release, and as `lay` does.
    """
    found = nvidia_modules.verify_tree(root, driver.version, objects, certificate)
    return [*lay_user_space(root, driver), *_module_components(driver, found)]


def lay_user_space(root: Path, driver: Driver) -> list[sbom.Component]:
    """Lay all but the modules over a tree; return what it consists of.

    Raises HostError when CUDA libraries of the product need a newer driver.
    """
    nvidia_versions.check(driver.version)
    places = Anatomy.of(root)
    firmware = root / "usr/lib/firmware/nvidia" / driver.version
    _copy(driver.firmware, firmware)
    _copy(driver.libraries, root / places.libraries)
    for path in driver.libraries:
        if (name := soname(path)) != path.name:
            link = root / places.libraries / name
            link.unlink(missing_ok=True)  # the emulated NVML, in a tree for development
            link.symlink_to(path.name)
    _copy(driver.programs, root / "usr/bin", mode=0o755)
    # nvidia-persistenced's socket has a fixed place, /var/run/nvidia-persistenced.
    run_link = root / "var/run"
    if not run_link.is_symlink():
        run_link.symlink_to("../run")
    parts = [*driver.libraries, *driver.programs, *driver.firmware]
    topologies = []
    if driver.fabric_manager:
        manager = driver.fabric_manager / FABRIC_MANAGER_PROGRAM
        _copy([manager], root / "usr/bin", mode=0o755)
        parts.append(manager)
        data = driver.fabric_manager / FABRIC_MANAGER_DATA
        topologies = sorted(path for path in data.rglob("*") if path.is_file())
        for path in topologies:
            _copy([path], (root / "usr" / FABRIC_MANAGER_DATA / path.relative_to(data)).parent)
        configuration = driver.fabric_manager / FABRIC_MANAGER_CONFIGURATION
        # Its log file would be on the read-only root; without one it logs to standard error.
        text = re.sub(r"(?m)^LOG_FILE_NAME=.*$", "LOG_FILE_NAME=", configuration.read_text())
        (root / "usr" / FABRIC_MANAGER_DATA / configuration.name).write_text(text)
    for path in driver.licences:
        target = root / LICENCES / f"{path.parent.name}-{path.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return [
        sbom.part(kind, path, PURL, driver.version, LICENCE)
        for kind, paths in (("library", parts), ("file", topologies))
        for path in paths
    ]


def soname(library: Path) -> str:
    """Return the name by which programs ask for a library."""
    printed = run(["readelf", "--wide", "--dynamic", str(library)], env={"LC_ALL": "C"})
    match = re.search(r"\(SONAME\).*\[(.*)\]", printed)
    return match[1] if match else library.name


def _copy(files: Iterable[Path], folder: Path, mode: int = 0o644) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in files:
        target = folder / path.name
        shutil.copyfile(path, target)
        target.chmod(mode)


def _module_components(driver: Driver, found: Iterable[Path]) -> list[sbom.Component]:
    return [sbom.part("library", path, PURL, driver.version, MODULES_LICENCE) for path in found]
