"""Connects agents to the hosts that their manifests list, from the machine's network."""
