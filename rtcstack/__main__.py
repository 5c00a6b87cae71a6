"""Makes `python -m rtcstack` run the command line."""

import sys

from rtcstack.tools.cli import main

sys.exit(main())
