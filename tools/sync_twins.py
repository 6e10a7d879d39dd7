"""Generate src/pgreplkit/_sync from src/pgreplkit/_async; with --check, only compare.

It replaces tokens, so comments and line breaks are preserved; ``ruff format`` formats the output.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

ROOM = Path(__file__).parents[1] / "src" / "pgreplkit"
HEADER = "# Generated from pgreplkit/_async/{name} by `nox -s sync`. Do not edit.\n"
DROPPED = {"async", "await"}
NAMES = {
    "asynccontextmanager": "contextmanager",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "enter_async_context": "enter_context",
    "StopAsyncIteration": "StopIteration",
    "_async": "_sync",
    "aconnect": "connect",
    "aplan_clone": "plan_clone",
    "acompare": "compare",
    "acopy_schema": "copy_schema",
    "aschema_drift": "schema_drift",
    "afind_orphans": "find_orphans",
    "aclose": "close",
}


def translated(source: str) -> str:
    """Return the sync translation of an async module."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    parts, done = [], 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        begin, end = (starts[row - 1] + column for row, column in (token.start, token.end))
        if token.string in DROPPED:
            parts.append(source[done:begin])
            done = end + 1  # with the space after it
        elif token.type == tokenize.NAME or token.string.startswith('"""'):
            parts += [source[done:begin], _renamed(token.string)]
            done = end
    return "".join([*parts, source[done:]])


def _renamed(text: str) -> str:
    words = rf"\b({'|'.join(NAMES)})\b"
    return re.sub(words, lambda match: NAMES[match[0]], text).replace("Async", "")


def formatted(source: str) -> str:
    """Sort the imports and format the text with ruff."""
    ruff = [sys.executable, "-m", "ruff"]
    name = ["--stdin-filename", str(ROOM / "_sync" / "generated.py"), "-"]
    fix = [*ruff, "check", "--quiet", "--select", "I", "--fix", *name]
    for command in (fix, [*ruff, "format", *name]):
        run = subprocess.run(command, input=source, capture_output=True, text=True, check=True)
        source = run.stdout
    return source


def _modules(colour: str) -> list[Path]:
    by_hand = {ROOM / colour / "__init__.py", ROOM / colour / "_io.py"}
    return sorted({*(ROOM / colour).rglob("*.py")} - by_hand)


def main(check: bool) -> int:
    stale = []
    sources = {path.relative_to(ROOM / "_async"): path for path in _modules("_async")}
    for name, source in sources.items():
        target = ROOM / "_sync" / name
        text = formatted(HEADER.format(name=name) + translated(source.read_text()))
        compile(text, str(target), "exec")
        if not target.exists() or target.read_text() != text:
            stale.append(target)
            if not check:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text)
    orphans = {path.relative_to(ROOM / "_sync") for path in _modules("_sync")} - sources.keys()
    for path in stale:
        print("stale" if check else "written", path.relative_to(ROOM))
    for orphan in sorted(orphans):
        print("no source for", orphan)
    return bool(orphans or (check and stale))


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
