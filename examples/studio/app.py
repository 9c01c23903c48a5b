"""The application and its settings. The web server and the workers both import this, so both look into one store."""

import os
from pathlib import Path

from celeriac import Celery

ROOT = Path(__file__).parents[2]
# Pictures lie here; so does the embedded store: a file, nothing to install.
HOME = Path(os.environ.get("STUDIO_HOME", ROOT / ".studio"))
os.environ["CELERIAC_HOME"] = str(HOME)

# Limits, enforced while a picture comes in (web.py, darkroom.py) and again before it is worked on (tasks.py).
MAX_BYTES = 15_000_000
MAX_PIXELS = 40_000_000  # a file of a few kB can claim to be a picture of many GB
MAX_PICTURES = 60
FORMATS = ("JPEG", "PNG", "WEBP")

SMTP_PORT = int(os.environ.get("STUDIO_SMTP_PORT", "1025"))
# A pause after each step, to have something to see. At 0 a picture is done before you look.
PACE_S = float(os.environ.get("STUDIO_PACE_S", "0.2"))
LOOK_EVERY_S = 0.2  # how often the web server asks the store

# STUDIO_STORE=redis://localhost:6379/0 is all it takes to move to Redis; without it, the file in HOME is used.
app = Celery("studio", broker=os.environ.get("STUDIO_STORE"), include=["examples.studio.tasks"])
app.conf.update(
    # A queue for each kind of work, so that each could have workers of its own (-Q); those of the studio serve both, and
    # do pictures first: somebody is looking. The lowest number goes first, and without a number it is 0.
    task_queues=["studio.pictures", "studio.mails"],
    task_default_queue="studio.pictures",
    task_routes={"examples.studio.tasks.send_mail": {"queue": "studio.mails", "priority": 6}},
    # Store STARTED when a run begins, so that the page can tell what runs from what waits.
    task_track_started=True,
    # Whatever a stranger's picture makes of the program that reads it, it ends.
    task_time_limit=60.0,
    # On Redis a worker that is silent for so long counts as dead. 15 s is a good value; here somebody is watching.
    worker_lease=3.0,
    # A task whose worker died runs again, so often. Usually 3; but here killing workers is a game.
    max_deliveries=20,
)
