"""Objects of a custom kind in the version that was asked for: conversion strategy None changes apiVersion alone.

In: what is stored. Out: the same as this version's clients see it. Called by the handlers that read and patch.
"""

from __future__ import annotations

import msgspec

from stockade.lab.apiserver.kinds import Kind
from stockade.lab.apiserver.registry import JsonObject


def is_stored_form(kind: Kind) -> bool:
    return kind.custom is None or kind.custom.storage == kind.api_version


def as_served(kind: Kind, obj: JsonObject) -> JsonObject:
    return obj if is_stored_form(kind) else {**obj, "apiVersion": kind.api_version}


def raw_as_served(kind: Kind, obj: JsonObject, raw: bytes) -> bytes:
    return raw if is_stored_form(kind) else msgspec.json.encode(as_served(kind, obj))
