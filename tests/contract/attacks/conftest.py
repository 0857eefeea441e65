from __future__ import annotations

from tests.unit.attest.conftest import honest, machine, tpm

__all__ = ["honest", "machine", "tpm"]
