"""Keylime's ``tpm_policy`` from the golden values of a build. Pure.

The PCRs are those that the build predicts; the verifier quotes exactly these and PCR 16, where the
protocol binds the agent's key. Keylime refuses a policy that names PCR 10 or 16.
"""

from __future__ import annotations

from ..attest.golden import Golden


def tpm_policy(golden: Golden) -> dict[str, list[str]]:
    """The accepted values, in hexadecimal, by the number of the PCR."""
    return {str(pcr): [value.hex()] for pcr, value in sorted(golden.pcrs.items())}
