"""The ``metrics`` service: what PID 1 knows, for Prometheus to collect.

PID 1 is asked when somebody scrapes, once a second at most.
"""
