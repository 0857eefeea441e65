"""The one exception tree. Classes are grouped by what the caller does next.

Foreign exceptions are wrapped once, at the seam where they enter, with ``raise … from``.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class AinosError(Exception):
    """Root of everything that ainit raises on purpose."""


class Finding:
    """One thing wrong with an input: where it is and what it is, in plain words."""

    __slots__ = ("file", "line", "message")

    def __init__(self, file: str, line: int, message: str) -> None:
        self.file = file
        self.line = line
        self.message = message

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"

    def __repr__(self) -> str:
        return f"Finding({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Finding) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


class ConfigError(AinosError):
    """Configuration is wrong: mend the file. Carries every finding, not the first."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("\n".join(str(finding) for finding in findings))
        self.findings = tuple(findings)


class JournalError(AinosError):
    """PID 1 cannot write down what it is about to do: a fault of its own, expected nowhere."""


class RefusedError(AinosError):
    """Policy says no; trying again changes nothing."""


class MeasurementError(RefusedError):
    """Something could not be measured, so it must not be used."""


class NotCoveredError(MeasurementError):
    """A file is covered neither by fs-verity nor by the verified root."""


class UnavailableError(AinosError):
    """A part is missing or down now; trying later may help."""


class TpmError(UnavailableError):
    """The TPM is missing, or answered with an error code."""


class DeadlineError(UnavailableError):
    """An external wait ran past its deadline."""


class WireError(AinosError):
    """A peer broke the control protocol; the connection is closed."""
