"""What becomes of fields that the API does not have: the fieldValidation of the API, which ``kubectl --validate`` sets.

Chosen by the user of ``manifests.load``.
"""

from __future__ import annotations

from enum import StrEnum


class FieldValidation(StrEnum):
    STRICT = "strict"  # an error
    WARN = "warn"  # dropped, with a warning
    IGNORE = "ignore"  # dropped
