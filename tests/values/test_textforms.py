"""The texts of value types, as pydantic and cattrs read them."""

from __future__ import annotations

import cattrs
import pytest
from pydantic import TypeAdapter, ValidationError

from pgreplkit import WalFileName, register_cattrs


def test_a_name_of_another_kind_is_refused() -> None:
    converter = cattrs.Converter()
    register_cattrs(converter)
    for wrong in ("00000002.history", "000000010000000000000005.gz"):
        with pytest.raises(ValueError, match="expected a WalFileName"):
            converter.structure(wrong, WalFileName)
        with pytest.raises(ValidationError, match="expected a WalFileName"):
            TypeAdapter(WalFileName).validate_python(wrong)
