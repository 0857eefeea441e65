"""``python3 -m ainit.cli`` is ``ainitctl``."""

import sys

from . import main

sys.exit(main())
