"""`app.conf`: the settings of an application."""

from __future__ import annotations

import threading
from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, MutableMapping
from typing import Any

from celeriac.exceptions import ConfigError
from celeriac.settings.censoring import censored as without_secrets
from celeriac.settings.censoring import shown
from celeriac.settings.derived import DERIVED
from celeriac.settings.layers import Found, Layers
from celeriac.settings.names import meant
from celeriac.settings.reading import Reader
from celeriac.settings.table import SETTINGS

__all__ = ["Settings"]

Load = Callable[[], Mapping[str, Any]]


class _Deferred:
    """A source that is read when a setting is first read. `replaced` are values of code that it may replace."""

    def __init__(self, load: Load, source: str, is_object: bool, replaced: Iterable[str] = ()) -> None:
        self.load = load
        self.source = source
        self.is_object = is_object
        self.replaced = frozenset(replaced)


class Settings(MutableMapping[str, Any]):
    """The values of an application: `app.conf`. Read and set as attributes or items; `update` sets many or none.

    Configuration objects are read when a setting is first read; the functions given are called before and after that.
    Thread-safe.
    """

    def __init__(
        self, before_first_read: Callable[[], None] | None = None, after_first_read: Callable[[], None] | None = None
    ) -> None:
        self.__dict__.update(
            _before_first_read=before_first_read,
            _after_first_read=after_first_read,
            _layers=Layers(),
            _reader=Reader(),
            _pending=[],
            _ready=False,  # nothing is pending, and something was read
            _was_read=False,
            _late=set(),  # set by code after the first read
            _loading=False,
            _lock=threading.RLock(),
        )

    # ── read ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def __getitem__(self, name: str) -> Any:
        if not self._ready:
            self._load()
        if name not in DERIVED:
            try:
                return self._layers.current[name]
            except KeyError:
                pass
        return self._found(name).value

    @property
    def values_now(self) -> Mapping[str, Any]:
        """All values by name, for code that reads many of them often. URLs, which the environment may set, are not there."""
        if not self._ready:
            self._load()
        values: Mapping[str, Any] = self._layers.current
        return values

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            near = meant(name)
            hint = f"; did you mean {near!r}?" if near else ""
            raise AttributeError(f"there is no setting {name!r}{hint}") from None

    def __contains__(self, name: object) -> bool:
        self._load()
        known = self._reader.name(name) if isinstance(name, str) else ""
        return known in self._layers.merged or known in SETTINGS

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(dict.fromkeys([*SETTINGS, *self._layers.merged]))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def source(self, name: str) -> str:
        """Where the value came from: "default", "code", "command line", "environment X", or the configuration object."""
        self._load()
        return self._found(name).source

    def _found(self, name: str) -> Found:
        known = self._reader.name(name)
        return DERIVED[known](self._layers) if known in DERIVED else self._layers.find(known)

    def without_defaults(self) -> dict[str, Any]:
        """What was set by anything, by name."""
        self._load()
        return {name: self[name] for name in self._layers.names()}

    def changed(self) -> ItemsView[str, Any]:
        """What was set, without defaults."""
        return self.without_defaults().items()

    def table(self, with_defaults: bool = False, censored: bool = True) -> dict[str, Any]:
        """The values by name, secrets masked."""
        self._load()
        names = self if with_defaults else self._layers.names()
        values = {name: self[name] for name in names}
        return {name: without_secrets(name, value) for name, value in values.items()} if censored else values

    def humanize(self, with_defaults: bool = False, censored: bool = True) -> str:
        """The same as text, a line for each."""
        table = self.table(with_defaults, censored)
        return "\n".join(f"{name}: {shown(name, value) if censored else repr(value)}" for name, value in table.items())

    def __repr__(self) -> str:
        # Looking at it, in a debugger say, reads no configuration object.
        return f"<Settings { ({name: without_secrets(name, found.value) for name, found in self._layers.merged.items()}) }>"

    # ── set ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def update(self, *mappings: Any, **values: Any) -> None:
        """Set several; if one of them is wrong none is set."""
        merged: dict[str, Any] = {}
        for mapping in (*mappings, values):
            merged.update(mapping)
        self._set(merged)

    def setdefault(self, name: str, default: Any = None) -> Any:
        """Set it unless anything but the table's default has; the value that holds then."""
        self._load()
        if self._reader.name(name) not in self._layers.names():
            self[name] = default
        return self[name]

    def override(self, values: Mapping[str, Any], source: str = "command line") -> None:
        """Set what neither code nor environment nor configuration changes: for the command line."""
        with self._lock:
            self._layers.force(self._reader.read(dict(values)), source)

    def clear(self) -> None:
        """Forget what code has set."""
        with self._lock:
            self._layers.unset(list(self._layers.merged))

    def __setitem__(self, name: str, value: Any) -> None:
        self._set({name: value})

    def __setattr__(self, name: str, value: Any) -> None:
        self._set({name: value})

    def __delitem__(self, name: str) -> None:
        known = self._reader.name(name)
        with self._lock:
            if not self._layers.is_code(known):
                raise KeyError(name)
            self._layers.unset([known])

    def _set(self, values: dict[str, Any]) -> None:
        with self._lock:
            checked = self._reader.read(values)
            self._layers.set(checked)
            if self._was_read:
                self._late.update(checked)

    # ── configuration objects ────────────────────────────────────────────────────────────────────────────────────────

    def defer(self, load: Load, source: str, namespace: str | None = None) -> None:
        """Have `load` give the configuration object's values at the first read, in place of an earlier object's.

        Code's values hold against them, except, as in Celery, those set after settings were read and before this call.
        An error of `load` is raised by that read, and by each further one.
        """
        with self._lock:
            self._reader.namespace = namespace or self._reader.namespace
            self._pending[:] = [deferred for deferred in self._pending if not deferred.is_object]
            self._pending.insert(0, _Deferred(load, source, True, self._late))
            self.__dict__["_ready"] = False

    def add_defaults(self, values: Mapping[str, Any] | Load, source: str = "add_defaults") -> None:
        """Add values, or a function that gives them at the first read; they hold against the configuration object's."""
        load: Load = values if callable(values) else lambda: values
        with self._lock:
            self._pending.append(_Deferred(load, source, False))
            self.__dict__["_ready"] = False

    def finalize(self) -> Settings:
        """Read what is deferred now."""
        self._load()
        return self

    def _load(self) -> None:
        if self._ready:
            return
        with self._lock:
            if self._loading:
                return  # a configuration that reads settings while it is read finds those that are there
            self.__dict__["_loading"] = True
            first = not self._was_read
            try:
                if first and self._before_first_read is not None:
                    self._before_first_read()
                while self._pending:
                    deferred = self._pending[0]
                    self._take_in(deferred, _values_of(deferred))
                    self._pending.remove(deferred)
                self.__dict__.update(_ready=True, _was_read=True)
            finally:
                self.__dict__["_loading"] = False
            if first and self._after_first_read is not None:
                self._after_first_read()

    def _take_in(self, deferred: _Deferred, values: dict[str, Any]) -> None:
        checked = self._reader.read(values, deferred.source)
        if not deferred.is_object:
            self._layers.add(checked, deferred.source)
            return
        self._layers.unset(deferred.replaced.intersection(checked))
        self._layers.configure(checked, deferred.source)

    @property
    def namespace(self) -> str | None:
        """What names may have before them, since a configuration object was read with it."""
        namespace: str | None = self._reader.namespace
        return namespace


def _values_of(deferred: _Deferred) -> dict[str, Any]:
    try:
        return dict(deferred.load())
    except AttributeError as error:
        # As it is it would say that app.conf lacks the attribute, and hasattr() would hide it.
        raise ConfigError(f"reading {deferred.source} failed: {error}") from error
