"""The system calls: the only place that touches the kernel. Standard library and ctypes."""
