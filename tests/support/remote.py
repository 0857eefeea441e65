"""Remote control as the image runs it: its Python, its OpenSSL and its provider for TPMs, with the
product's source. EMULATED: the TPM is swtpm, which the image's libraries reach through the host's
transport.

    python3 tests/support/remote.py PLACE     the service, on a port of its own that it prints
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.unit.attest.swtpm import Swtpm

ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
LIBRARIES = "usr/lib/x86_64-linux-gnu"


class Service:
    """``python3 -m ainit.remote`` of an image's tree, but for where its files and socket are."""

    def __init__(
        self, tree: Path, place: Path, tpm: Swtpm, operators: list[dict[str, str]], control: Path
    ) -> None:
        (place / "libraries").mkdir(exist_ok=True)
        for path in Path("/", LIBRARIES).glob("libtss2-tcti-swtpm.so*"):
            (place / "libraries" / path.name).unlink(missing_ok=True)
            (place / "libraries" / path.name).symlink_to(path)
        libraries = tree / LIBRARIES
        record = {
            "operators": operators,
            "channel": str(place / "remote/channel.pem"),
            "control": str(control),
            "tcti": tpm.tcti,
        }
        (place / "service.json").write_text(json.dumps(record))
        self.process = subprocess.Popen(
            [
                *(str(libraries / "ld-linux-x86-64.so.2"), "--library-path"),
                f"{libraries}:{place / 'libraries'}",
                *(str(tree / "usr/bin/python3"), "-I", "-W", "ignore", __file__, str(place)),
            ],
            stdout=subprocess.PIPE,
            text=True,
            env={
                "PATH": "/usr/bin",
                "PYTHONHOME": str(tree / "usr"),
                "OPENSSL_CONF": str(tree / "usr/lib/ainos/openssl-tpm.cnf"),
                "OPENSSL_MODULES": str(libraries / "ossl-modules"),
                "TPM2OPENSSL_TCTI": tpm.tcti,
                "TSS2_LOG": "all+none",
                "CRYPTOGRAPHY_OPENSSL_NO_LEGACY": "1",
            },
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline() or "0")

    def end(self) -> str:
        """What it said until it was ended."""
        self.process.terminate()
        assert self.process.stdout is not None
        with self.process:
            return self.process.stdout.read()


def main(place: Path) -> None:
    """Serve."""
    from ainit.policy.remote import Operator
    from ainit.remote.__main__ import Place, gateway

    record = json.loads((place / "service.json").read_text())
    operators = [Operator(**one) for one in record["operators"]]
    given = Place(record["channel"], record["control"], record["tcti"])
    with socket.create_server((HOST, 0)) as listener:
        serving = gateway(operators, listener, given)
        print(listener.getsockname()[1], flush=True)
        serving.serve()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    os.environ.pop("PYTHONHOME", None)
    main(Path(sys.argv[1]))
