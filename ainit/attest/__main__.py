"""``python3 -m ainit.attest``: the attestation service, started by PID 1."""

from __future__ import annotations

from .service import service

if __name__ == "__main__":
    service().serve()
