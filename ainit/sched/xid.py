"""What follows from an Xid, the number by which NVIDIA's driver reports a fault of a GPU. PURE.

The classes are those of NVIDIA's Xid catalog (docs.nvidia.com/deploy/xid-errors, "Analyzing Xid
Errors with the Xid Catalog", column "Resolution Bucket (Immediate Action)", for A100 and later),
brought down to what this service can do: IGNORE is IGNORE, RESTART_APP is APPLICATION, RESET_GPU is
RESET, RESTART_BM and RESTART_VM are REBOOT, CHECK_MECHANICALS, UPDATE_SWFW, CONTACT_SUPPORT and
NVLink's workflows are CORDON. docs/gpu-health.md gives the table, and the reasons where the catalog
leaves the choice open. Leaves out how an Xid is heard: see ``nvml_health``.

>>> classify(79).response.value, describe(79)
('reboot', 'Xid 79 (fallen off the bus)')
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Response(Enum):
    """What follows for the GPU and for whoever holds a part of it."""

    IGNORE = "ignore"  # it is written down
    APPLICATION = "application"  # the process that caused it is lost, the GPU is good
    CORDON = "cordon"  # nothing new is placed; holders keep running; a person decides
    RESET = "reset"  # nothing new is placed; holders move; a reset makes it good
    REBOOT = "reboot"  # the same, and only a reboot makes it good

    @property
    def cordons(self) -> bool:
        """Whether nothing new may be placed."""
        return self in (Response.CORDON, Response.RESET, Response.REBOOT)

    @property
    def moves(self) -> bool:
        """Whether holders are started elsewhere."""
        return self in (Response.RESET, Response.REBOOT)


@dataclass(frozen=True, slots=True)
class Xid:
    """One number, in words; ``known`` is false for one that the table does not have."""

    code: int
    words: str
    response: Response
    known: bool = True


# An engine of its own each: copy, video decoder, JPEG, optical flow, security.
_ENGINES = (
    (range(39, 42), "copy engine exception"),
    (range(60, 61), "security processor exception"),
    (range(68, 69), "video decoder exception"),
    (range(70, 73), "copy engine exception"),
    (range(75, 78), "copy engine exception"),
    (range(82, 83), "JPEG decoder exception"),
    (range(83, 85), "video decoder exception"),
    (range(85, 86), "copy engine exception"),
    (range(86, 87), "optical flow exception"),
    (range(88, 90), "video decoder exception"),
    (range(96, 99), "video decoder exception"),
    (range(99, 106), "JPEG decoder exception"),
    (range(126, 136), "copy engine exception"),
    (range(139, 140), "optical flow exception"),
)

_WORDS: dict[Response, dict[int, str]] = {
    Response.IGNORE: {
        14: "unused",
        37: "driver firmware error",
        38: "driver firmware error",
        43: "a channel was reset",
        44: "fault in a context switch",
        45: "cleanup after another error",
        63: "a memory row or page is to be remapped",
        66: "illegal access by the driver",
        67: "illegal access by the driver",
        92: "many corrected memory errors",
        93: "InfoROM is worn",
        106: "test message",
        107: "test message",
        108: "NVLink remote translation error",
        121: "corrected error of the chip-to-chip link",
        137: "NVLink privilege error",
        141: "fast path error",
        147: "NVLink error, corrected",
        148: "NVLink error, corrected",
        152: "not of these boards",
        153: "not of these boards",
        154: "the recovery action changed",  # the board is asked for it, see health.look
        157: "a resource could not be retired",
        160: "a channel was retired",
        161: "a channel could not be retired",
        162: "power smoothing is on again",
        163: "power smoothing is off",
        171: "memory is the place of a fault",  # beside 48, which counts
        172: "a cache is the place of a fault",
    },
    Response.APPLICATION: {
        8: "GPU stopped processing",
        11: "invalid push buffer",
        13: "graphics engine exception",
        25: "invalid push buffer",
        31: "memory page fault",
        32: "invalid push buffer",
        69: "graphics engine class error",
        80: "corrupted data sent to the GPU",
        94: "contained memory error",
        **{code: words for codes, words in _ENGINES for code in codes},
    },
    Response.RESET: {
        46: "GPU stopped processing",
        48: "uncorrectable memory error",
        62: "power controller halted",
        64: "a memory row or page could not be remapped",
        95: "uncontained memory error",
        109: "context switch timed out",
        110: "security fault",
        119: "GSP does not answer",
        120: "GSP error",
        136: "NVLink training failed",
        140: "unrecovered memory error",
        143: "GPU did not initialise",
        150: "NVLink error",
        155: "NVLink error",
        156: "a resource is to be retired",
        158: "fatal timeout",
        159: "coherent link error",
    },
    Response.REBOOT: {
        79: "fallen off the bus",
        151: "key rotation error",
    },
    Response.CORDON: {
        54: "auxiliary power is not connected",
        74: "NVLink error",
        78: "vGPU did not start",
        142: "video encoder exception",
        144: "NVLink error",
        145: "NVLink error",
        146: "NVLink error",
        149: "NVLink error",
        164: "power smoothing is nearly worn out",
        165: "power smoothing is worn out",
        166: "NVLink encryption error",
        167: "PCIe fatal timeout",
        168: "less memory than before",
        169: "security processor halted",
        170: "NVLink security error",
    },
}

TABLE: dict[int, Xid] = {
    code: Xid(code, words, response)
    for response, each in _WORDS.items()
    for code, words in each.items()
}

# What explains a count of uncorrectable memory errors that has grown.
MEMORY = frozenset((48, 63, 64, 94, 95, 140, 171, 172))


def classify(code: int) -> Xid:
    """The entry of an Xid. NVML reports critical ones only, so one that nobody knows is a cordon:
    the GPU is not trusted with anything new until somebody has read what the driver says of it.
    """
    return TABLE.get(code) or Xid(code, "unknown", Response.CORDON, known=False)


def describe(code: int) -> str:
    """``Xid 79 (fallen off the bus)``."""
    return f"Xid {code} ({classify(code).words})"
