"""The device service: which GPUs, disks and network interfaces there are, and how that changed."""
