"""Attestation: what the machine runs, proved to somebody who does not trust it.

The guest's side is ``quote`` (the TPM), ``service`` (the varlink interface) and ``evidence`` (the
files); the verifier's side is ``verify`` and what it imports, all of it pure: bytes in, findings
out. ``enrol`` is the conversation between the two.
"""
