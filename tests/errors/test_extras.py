"""Packages that an extra installs."""

from __future__ import annotations

import pytest

from pgreplkit.errors import ExtraMissing
from pgreplkit.errors.extras import needs_extra


def test_a_missing_package_names_the_extra() -> None:
    with pytest.raises(ExtraMissing) as caught, needs_extra("lab", "psutil"):
        raise ImportError("no libpq.\nFurther attempts")
    assert (caught.value.extra, caught.value.name) == ("lab", "psutil")
    assert str(caught.value) == (
        "could not import psutil: no libpq; run: pip install 'pgreplkit[lab]'"
    )


def test_other_errors_of_an_import_pass() -> None:
    with pytest.raises(ZeroDivisionError), needs_extra("lab", "psutil"):
        raise ZeroDivisionError
