"""Doors for the machine that runs a development image in QEMU: virtio-serial ports.

A release image has neither the units nor the ports. Standard library only.
"""
