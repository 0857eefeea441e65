"""Remote control: the control socket over TCP, for operators that the configuration names.

``python3 -m ainit.remote`` is the machine's end, a service of its own; ``operator`` is the other.
PID 1 never sees a byte of TLS.
"""
