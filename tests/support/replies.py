"""Answers of a small machine, for tests of what reads them."""

from __future__ import annotations

UNIT: dict[str, object] = {
    "name": "file-type",
    "kind": "agent",
    "description": "tells what kind of file it is given",
    "state": "ready",
    "desired": "up",
    "essential": True,
    "reason": "",
    "pid": 71,
    "restarts": 2,
    "since": 7.5,
    "ready_at": 8.25,
    "memory_bytes": 50 * 1024 * 1024,
    "provides": ["org.ainos.agent.FileType"],
    "models": ["magika"],
    "gpu": {"profile": "1g.10gb", "uuid": "MIG-0c1d", "gpu": 0},
}
REFUSED_UNIT: dict[str, object] = {
    **UNIT,
    "name": "speech",
    "state": "refused",
    "reason": "model silero-vad: the signature does not match",
    "pid": None,
    "restarts": 0,
    "ready_at": None,
    "memory_bytes": None,
    "gpu": None,
}
STATUS: dict[str, object] = {
    "machine": {
        "hostname": "node1",
        "version": "0.1.0",
        "health": "degraded",
        "findings": ["speech is refused: model silero-vad: the signature does not match"],
        "secure_boot": "on",
        "tpm": "present",
        "root": "verified",
        "state": "mounted",
        "configuration": "default",
        "uptime": 3700.0,
        "peak_bytes": 15 << 20,
        "faults": 0,
    },
    "phases": [{"name": "kernel", "seconds": 2.5}, {"name": "ainit", "seconds": 1.25}],
    "units": [UNIT, REFUSED_UNIT],
}
MEASUREMENTS: dict[str, object] = {
    "records": [
        {
            "recnum": 0,
            "pcr": 13,
            "digests": [{"hashAlg": "sha256", "digest": "ab" * 32}],
            "content_type": "ainos",
            "content": {"type": "model", "name": "magika", "digest": "sha256:" + "cd" * 32},
        },
        {
            "recnum": 1,
            "pcr": 13,
            "digests": [{"hashAlg": "sha256", "digest": "ef" * 32}],
            "content_type": "ainos",
            "content": {
                "type": "refusal",
                "kind": "model",
                "name": "silero-vad",
                "reason": "the signature does not match",
            },
        },
    ],
    "pcrs": {"13": "12" * 32},
}
