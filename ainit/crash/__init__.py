"""Evidence of boots that ended badly: what the kernel left behind, and that nobody said goodbye.

``pstore`` puts the kernel's pieces together, ``evidence`` reads the cause out of them, ``marker``
tells an orderly end from another, ``archive`` keeps what was found on the state partition, and
``collect`` does all of this once a boot. ``python3 -m ainit.crash`` is the service. Leaves out:
faults that PID 1 outlived in the present boot, which its own status tells.
"""
