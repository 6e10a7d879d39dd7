"""The classes of errors."""

from __future__ import annotations

from pgreplkit import errors
from pgreplkit.errors import InvalidValue

CLASSES = {name: getattr(errors, name) for name in vars(errors)["__all__"]}
REFUSALS = [kind for kind in CLASSES.values() if issubclass(kind, InvalidValue)]
