"""``--validate``: what becomes of fields that the API does not have. Shared by every command that reads manifests.

The words are kubectl's, and so is what they mean; unlike kubectl, ``strict`` and ``warn`` tell of a key that stands twice, too: kubectl
keeps the last one before it validates.
"""

from __future__ import annotations

import click

from stockade.manifests.validation import FieldValidation

validate_option = click.option(
    "--validate",
    "validation",
    type=click.Choice([each.value for each in FieldValidation]),
    default=FieldValidation.STRICT.value,
    show_default=True,
    help="Unknown fields of manifests, as kubectl --validate: strict, they are errors; warn, they are dropped with a warning; "
    "ignore, silently. A key given twice is a warning (kubectl takes the last one); with ignore nothing is said.",
)
