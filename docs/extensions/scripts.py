"""The programs that pages let their readers save.

Executed as a program, this module saves those of all how-to pages in a folder, for type checkers:
``python docs/extensions/scripts.py FOLDER``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

HOW_TO = Path(__file__).parents[1] / "how-to"
FILE = re.compile(r"Save this as `([\w.]+)`:\n\n```python\n(.*?)```", re.DOTALL)


def save_files(page: str, folder: Path) -> None:
    """Save the files of a page in a folder."""
    for name, text in FILE.findall((HOW_TO / page).read_text()):
        folder.joinpath(name).write_text(text)


if __name__ == "__main__":
    # The others are tests, which have no types.
    for page in (
        *("check-servers-nightly.md", "migrate-by-hand.md", "run-checks.md"),
        "use-in-a-service.md",
    ):
        save_files(page, Path(sys.argv[1]))
