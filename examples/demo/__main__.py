"""Runs the demo and ends with status 0 when everything was done, 1 when something is missing."""

import sys

from examples.demo.run import main

sys.exit(main())
