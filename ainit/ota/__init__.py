"""Updates. So far: boot counting, re-armed once the machine is healthy."""
