"""The demo's app. It names no broker, so its work waits in the embedded store: a file, nothing to install."""

import os
from pathlib import Path

from celeriac import Celery

__all__ = ["HOME", "ROOT", "app"]

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".demo"

# Who publishes and who works must look into the same store. Both import this file, so both find it here, whatever
# folder they were started in. (A project needs no such line: its store is `.celeriac/` in its own folder.)
os.environ["CELERIAC_HOME"] = str(HOME)

app = Celery("demo", include=["examples.demo.tasks"])
