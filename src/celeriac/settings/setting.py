"""One setting: its name, default, check and meaning, and whether celeriac does something about it."""

from __future__ import annotations

from typing import Any, Literal

from celeriac.settings.checks import Check

__all__ = ["GROUPS", "Effect", "Setting", "accepted", "planned"]

#: "acted on"; "accepted": known, kept, and without effect; "planned": without effect in this version.
Effect = Literal["acted on", "accepted", "planned"]

#: The first words of names; what begins otherwise is of the group "general".
GROUPS = frozenset(
    {"arangodb", "azureblockblob", "beat", "broker", "cache", "cassandra", "control", "cosmosdbsql", "couchbase"}
    | {"database", "elasticsearch", "event", "gcs", "mongodb", "redis", "result", "s3", "security", "task", "worker"}
)


class Setting:
    """A row of the table. `quiet` are values, beside the default, that ask for no more than what is done anyway."""

    __slots__ = ("check", "default", "effect", "meaning", "name", "note", "quiet")

    def __init__(
        self,
        name: str,
        default: Any,
        check: Check,
        meaning: str,
        effect: Effect = "acted on",
        note: str = "",
        quiet: tuple[Any, ...] = (),
    ) -> None:
        self.name = name
        self.default = default
        self.check = check
        self.meaning = meaning
        self.effect = effect
        self.note = note
        self.quiet = quiet

    @property
    def acted_on(self) -> bool:
        """Whether celeriac does something about it."""
        return self.effect == "acted on"

    @property
    def group(self) -> str:
        """The first word of its name, or "general"."""
        head = self.name.partition("_")[0]
        return head if head in GROUPS else "general"

    @property
    def type(self) -> str:
        """What a value may be, in words."""
        return self.check.words

    def warning(self, value: Any) -> str | None:
        """What to tell someone who sets it to this value, if it will not do what they hope for."""
        if self.acted_on or value == self.default or value in self.quiet:
            return None
        if self.effect == "planned":
            return f"setting {self.name} is kept, but this version of celeriac does not act on it yet: {self.note}"
        return f"setting {self.name} has no effect in celeriac: {self.note}"


def accepted(name: str, default: Any, check: Check, meaning: str, note: str, quiet: tuple[Any, ...] = ()) -> Setting:
    """A setting of Celery's that has no use here; `note` says why, or what to use instead."""
    return Setting(name, default, check, meaning, "accepted", note, quiet)


def planned(name: str, default: Any, check: Check, meaning: str, note: str, quiet: tuple[Any, ...] = ()) -> Setting:
    """A setting that a later version will act on; `note` says what is missing."""
    return Setting(name, default, check, meaning, "planned", note, quiet)
