"""An agent that Keylime's registrar and verifier attest this machine through (docs/keylime.md).

It speaks the pull model: it registers once, then answers the verifier's requests for quotes. It
takes no secrets and runs no code for anybody. An IMA list is not part of it, because AINOS measures
what it starts into PCRs 12 to 14.
"""
