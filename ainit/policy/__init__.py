"""Decisions without I/O, clock or randomness: values in, values out.

``toml`` and ``config`` turn text into a ``plan``; ``graph`` orders it; ``machine`` steps one
service; ``phases`` says what is measured, in which order, into which PCR.
"""
