"""Every setting, one file for each group or a few."""

from __future__ import annotations

from collections.abc import Mapping

from celeriac.settings.setting import Setting
from celeriac.settings.table.broker import BROKER
from celeriac.settings.table.foreign import FOREIGN
from celeriac.settings.table.general import GENERAL
from celeriac.settings.table.results import REDIS, RESULT
from celeriac.settings.table.services import BEAT, CONTROL, EVENT, SECURITY
from celeriac.settings.table.task import TASK
from celeriac.settings.table.worker import WORKER

__all__ = ["SETTINGS"]

SETTINGS: Mapping[str, Setting] = {
    setting.name: setting
    for rows in (GENERAL, BROKER, RESULT, REDIS, TASK, WORKER, BEAT, CONTROL, EVENT, SECURITY, FOREIGN)
    for setting in rows
}
