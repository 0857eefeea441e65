"""How a service ends that a table of the machine configuration started."""

from __future__ import annotations

import pytest

from ainit.child import service
from ainit.errors import AinosError, ConfigError, Finding


@pytest.mark.parametrize("error", [AinosError("no key"), OSError("no key")])
def test_what_went_wrong_is_told(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    def serve() -> None:
        raise error

    assert service.run("remote", serve) == 1
    assert capsys.readouterr().err == "remote: no key\n"


def test_each_finding_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    findings = [Finding("environment", 0, "one"), Finding("environment", 0, "two")]

    def serve() -> None:
        raise ConfigError(findings)

    assert service.run("keylime", serve) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"keylime: {finding}" for finding in findings]


def test_a_fault_is_not_hidden() -> None:
    def serve() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        service.run("remote", serve)
