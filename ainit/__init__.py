"""AINOS's supervisor: PID 1, its child services and its command line.

Imports point one way: errors, constants, model, wire, policy, linux, then the siblings pid1, sched,
attest, store, net, devices, seal and bridge, which never import each other, and last cli.
``docs/ARCHITECTURE.md`` shows the whole on one page.
"""

__version__ = "0.1.0"
# Raised by a release when those before it must not run any more: they open no sealed state then.
__generation__ = 1
