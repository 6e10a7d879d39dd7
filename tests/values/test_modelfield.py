"""The base of value types in models."""

from __future__ import annotations

import subprocess
import sys


def test_values_import_neither_pydantic_nor_cattrs() -> None:
    code = (
        "import sys, pgreplkit as p; p.LSN, p.WalName, p.TimelineHistory, p.register_cattrs;"
        "print(*{'pydantic', 'pydantic_core', 'cattrs'} & {*sys.modules})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
