"""The log service: keeps what units write over reboots, in files on the state partition.

``files`` writes and rotates, ``read`` looks through what is there, ``follow`` listens to PID 1, and
``writer`` leads the one into the other.
"""
