"""The state partition under a key that the TPM gives out to an approved image only.

`docs/adr/0014-sealed-state.md` says what is bound to what, and why.
"""
