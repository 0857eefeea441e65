"""Has the kernel deny an agent every file that was not measured (docs/adr/0011).

``btf`` reads what the running kernel says about its own types, ``program`` holds the programs. The
child ``python3 -m ainit.enforce`` loads them and exits.
"""
