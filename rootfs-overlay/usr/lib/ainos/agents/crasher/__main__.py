"""The ``crasher`` agent: one line, then status 3."""

import sys

print("crasher: about to exit with status 3", flush=True)
sys.exit(3)
