"""PID 1. Standard library only, one thread, never blocks on anybody, never exits.

``main`` is a straight line: mounts, disk, configuration, then the ``loop``. ``supervisor`` decides
with ``policy.machine``, ``launch`` is the only path from a measured artefact to a running process.
"""
