"""The application: `Celery`, which holds the settings and the tasks and opens the stores."""

from __future__ import annotations

from celeriac.app.application import Celery

__all__ = ["Celery"]
