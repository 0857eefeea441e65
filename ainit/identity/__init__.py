"""Certificates of agents: issued by a key of the TPM, short-lived, and renewed only while the
machine is as it was measured.

Part of none of PID 1's decisions: an agent that has no certificate is not started, and that is all.
"""
