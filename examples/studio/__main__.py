"""Runs the studio until Ctrl-C."""

import sys

from examples.studio.run import main

sys.exit(main())
