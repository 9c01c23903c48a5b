"""Every setting in one typed table (`SETTINGS`), and `app.conf`, which holds their values (`Settings`).

Names and defaults are Celery's where Celery has the setting; its old upper-case names are understood. Setting a value
checks it at once: a wrong type or value is a `ConfigError` that names the setting, and so is a name that is nearly one of
these. Other unknown names are kept, since plug-ins read theirs from here.
"""

from __future__ import annotations

from celeriac.settings.censoring import censored
from celeriac.settings.conf import Settings
from celeriac.settings.names import OLD_NAMES, closest
from celeriac.settings.setting import Setting
from celeriac.settings.table import SETTINGS

__all__ = ["OLD_NAMES", "SETTINGS", "Setting", "Settings", "censored", "closest"]
