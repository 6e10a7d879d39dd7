"""Find words that make docstrings, comments, errors and pages hard to read; exit 1 if too many.

Usage: ``check_wording.py [PATH ...]``; by default the package, its tests, and the pages.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
CHECKED = ["src", "tests", "docs", "README.md", "CHANGELOG.md", "CONTRIBUTING.md"]
MOST = 10
"""Findings in 10,000 words: some of these words are right in some sentences."""
BETTER = {
    r"\b(tells?|told|telling)\b": "return, report, raise; by default",
    r"\bgives\b": "returns",
    r"\b(anew|afresh)\b": "again",
    r"\bany more\b": "no longer",
    r"\bfor ever\b": "without a limit, until stopped",
    r"\b(go(es|ing)?|gone|went) on\b": "continue",
    r"\b(stands?|standing) (in|on|at|beside|still|before)\b": "is in, is located",
    r"\b(is|are|was|were) (not )?(there|gone)\b": "exists, is missing",
    r"\b(is|are|was|were) (not )?to (be|have|go|follow|see|come)\b": "must, should, will",
    r"\b(no|some)body\b": "the object that is missing",
    r"\b(meanwhile|nevertheless|whence|thereby|besides|hitherto|beforehand)\b": "a plain word",
    r"\bof (no )?use\b": "useful, useless",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\bso (many|much|long|far)\b": "the number, the size, the time",
    r"(?:^|[.;:(] |\b(?:of|to|by|that|and|for) )[Ww]ho \w+": "name the subject",
    r"(?:^|[.;:(] |\b(?:of|to|by|and|from|with|for|as|in|at) )"
    r"[Ww]hat (is|was|are|were|has|had|it|they|comes?|goes)\b": "name the subject",
}
PATTERNS = {re.compile(pattern): better for pattern, better in BETTER.items()}
_SQL = re.compile(r"\b(SELECT|FROM|WHERE|CASE WHEN)\b")
_SENTENCE = re.compile(r"[a-z]+ [a-z]+ [a-z]+")


def files(paths: list[Path]) -> Iterator[Path]:
    """Return the modules and pages; generated ones repeat the text of their source."""
    for path in paths:
        found = [path] if path.is_file() else sorted([*path.rglob("*.py"), *path.rglob("*.md")])
        yield from (one for one in found if "_sync" not in one.parts and "_build" not in one.parts)


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Return the texts that people read, with their lines."""
    source = path.read_text()
    if path.suffix == ".md":
        code_left_out = re.sub(r"```.*?```", lambda m: "\n" * m[0].count("\n"), source, flags=re.S)
        yield from enumerate(code_left_out.splitlines(), 1)
        return
    for node in ast.walk(ast.parse(source)):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and _SENTENCE.search(text) and not _SQL.search(text):
            yield node.lineno, text
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("# ")


def marked(text: str) -> Iterator[tuple[int, str]]:
    """Yield each finding with the number of lines above it in the text."""
    for pattern, better in PATTERNS.items():
        for match in pattern.finditer(text):
            yield text.count("\n", 0, match.start()), f"{match[0].strip()!r}: better {better}"


def main(paths: list[Path]) -> int:
    words, findings = 0, []
    for path in files(paths):
        for line, text in texts(path):
            words += len(text.split())
            findings += [f"{path}:{line + below}: {finding}" for below, finding in marked(text)]
    rate = 10_000 * len(findings) / max(1, words)
    if rate > MOST:
        print(*findings, sep="\n")
    print(f"{len(findings)} findings in {words} words: {rate:.0f} per 10,000, at most {MOST}")
    return rate > MOST


if __name__ == "__main__":
    sys.exit(main([Path(arg) for arg in sys.argv[1:]] or [ROOT / name for name in CHECKED]))
