"""PID 1 of a test: the real ``ainit.pid1.main`` on a ground inside our own namespaces.

Run as ``unshare --pid --mount --fork … python -I -S guest.py DIRECTORY``. The directory holds
``plan.json`` and ``machine.toml``, and gets everything that a running machine keeps in /run.
"""

import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(os.path.dirname(here)))

from ainit import constants  # noqa: E402

directory = sys.argv[1]
if not os.path.isdir(directory):
    os._exit(1)  # its test is gone
constants.PLAN = f"{directory}/plan.json"
constants.DEFAULT_MACHINE = f"{directory}/machine.toml"
constants.CONFIG = f"{directory}/state/config"
constants.MACHINE = f"{directory}/state/config/machine.toml"
constants.SMBIOS = f"{directory}/smbios"
constants.RUNTIME = f"{directory}/run"
constants.CONTROL = f"{directory}/run/control"
constants.SOCKETS = f"{directory}/run/sockets"
constants.BUNDLES = f"{directory}/run/agents"
constants.NOTIFY = f"{directory}/run/notify"
constants.EGRESS = f"{directory}/run/egress"
constants.MEASUREMENTS = f"{directory}/run/measurements.cel"
constants.ADMITTED = f"{directory}/run/admitted.json"
constants.CREDENTIALS = f"{directory}/run/credentials"
constants.IDENTITIES = f"{directory}/run/identity"
constants.MODEL_DIRECTORIES = f"{directory}/run/models"
constants.OVERLAYS = f"{directory}/state/sandbox"
constants.RECORDS = f"{directory}/state/audit"
constants.AUDITING = f"{directory}/state/audit/on"
constants.AUDIT = f"{directory}/run/audit"
constants.AUDITED = f"{directory}/run/audited"
constants.SANDBOX_ROOT = f"{directory}/run/root"
constants.DEVICES = f"{directory}/run/devices.json"
constants.QUARANTINE = f"{directory}/state/quarantine"
constants.QUARANTINE_HELD = f"{directory}/state/quarantine/held"
constants.TIMERS = f"{directory}/state/timers"
constants.MACHINE_JSON = f"{directory}/run/machine.json"
constants.CONFIG_COPY = f"{directory}/run/config"
constants.MACHINE_PLAN = f"{directory}/run/plan.json"
constants.CONFIG_CANDIDATE = f"{directory}/run/config.candidate"
constants.CANDIDATE_PLAN = f"{directory}/run/plan.candidate.json"
constants.CONFIG_PREVIOUS = f"{directory}/run/config.previous"
constants.PREVIOUS_PLAN = f"{directory}/run/plan.previous.json"
constants.CGROUP_ROOT = f"{directory}/cgroup/{os.path.basename(directory)}"
constants.SHUTDOWN_SECONDS = 10.0
constants.STUCK_SECONDS = 2
constants.FAULTS_IN_A_ROW = 1_000_000

from ainit.errors import TpmError  # noqa: E402
from ainit.linux import libc  # noqa: E402
from ainit.linux.tpm import Tpm  # noqa: E402
from ainit.pid1.enforcement import Enforcement  # noqa: E402
from ainit.pid1.facts import Facts  # noqa: E402
from ainit.pid1.journal import Journal  # noqa: E402
from ainit.pid1.main import main  # noqa: E402
from ainit.pid1.measure import Measurements  # noqa: E402
from ainit.pid1.platform import Platform  # noqa: E402
from tests.support.enforcement import MapKeeper  # noqa: E402
from tests.support.tpm import PcrBank  # noqa: E402


def open_tpm() -> Tpm:
    if not os.path.exists(f"{directory}/tpm"):
        raise TpmError("no TPM: this test gives none")
    return Tpm(transmit=PcrBank().transmit)


class Namespaces(Platform):
    """A ground of our own namespaces instead of a machine."""

    def prepare(self) -> None:
        if os.path.isdir(constants.CGROUP_ROOT):
            return  # user space begins anew, on the mounts that are there
        libc.mount("", "/", "", libc.MS_REC | libc.MS_PRIVATE)
        libc.mount("proc", "/proc", "proc")
        libc.mount("cgroup2", f"{directory}/cgroup", "cgroup2")
        os.makedirs(constants.CGROUP_ROOT, exist_ok=True)
        for path in (constants.SOCKETS, constants.BUNDLES):
            os.makedirs(path, exist_ok=True)
        # As in the image, the interpreter finds the package by itself, for PID 1's own children.
        site = f"/usr/local/lib/python3.{sys.version_info.minor}/dist-packages"
        libc.mount("tmpfs", "/usr/local/lib", "tmpfs")
        os.makedirs(site)
        with open(f"{site}/ainit.pth", "w", encoding="utf-8") as file:
            file.write(os.path.dirname(os.path.dirname(here)))

    def measurements(self, journal: Journal) -> Measurements:
        return Measurements(journal, open_tpm, constants.MEASUREMENTS, root=directory)

    def enforcement(self, journal: Journal) -> Enforcement:
        kernel = MapKeeper()
        kernel.lacks = {"agents"} if os.path.exists(f"{directory}/unenforced") else set()
        return Enforcement(journal, kernel)

    def find_disk(self, facts: Facts) -> None:
        facts.root = facts.state = "namespaces"

    def name(self, hostname: str) -> None:
        pass

    def leave(self, how: str) -> None:
        with open(f"{directory}/left", "w", encoding="ascii") as file:
            file.write(how)
        os._exit(0)


main(Namespaces())
