"""YAML, the safe part of it: plain data and dates. A document can name no Python class."""

from __future__ import annotations

from typing import Any

from celeriac.extras import Extra
from celeriac.serialization.reasons import short

__all__ = ["YAML", "dumps", "loads"]

YAML = Extra("PyYAML", "yaml", "yaml")


def dumps(value: Any) -> str:
    yaml = YAML.load()
    try:
        text: str = yaml.safe_dump(value)
    except yaml.representer.RepresenterError as error:
        refused = error.args[-1]
        raise TypeError(f"YAML has no form for {type(refused).__qualname__} ({short(refused)})") from None
    return text


def loads(raw: bytes) -> Any:
    return YAML.load().safe_load(raw)
