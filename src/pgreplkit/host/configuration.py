"""The configuration of a server as its files and its last command line say, running or not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from posixpath import dirname, join, normpath

import attrs

from pgreplkit.host.nodecontrol import NodeControl

AUTO_FILE = "postgresql.auto.conf"
_MAIN_FILE = "postgresql.conf"
_DEEPEST = 10
"""How deep the server itself follows includes."""
_LINE = re.compile(
    r"""
    \s*(?P<name>[A-Za-z_][\w.]*)(?:\s*=\s*|\s+|(?='))
    (?:'(?P<quoted>(?:[^'\\]|''|\\.)*)'|(?P<bare>[^\s\#'=][^\s\#']*))
    """,
    re.VERBOSE,
)
_ESCAPE = re.compile(r"''|\\([0-7]{1,3}|.)")
_LETTERS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_INCLUDES = ("include", "include_if_exists", "include_dir")
_ARGUMENT = re.compile(r'"([^"]*)"')


@attrs.frozen
class WrittenSetting:
    """A setting, and where it is written: a file and a line, or the command line."""

    name: str
    value: str
    place: str


@attrs.frozen(kw_only=True)
class Configuration:
    """The settings that a server starts with, those of the command line before those of files.

    Names are in lower case. Files inside the data directory are named from there on.
    """

    main_file: str
    is_found: bool
    """Whether the main file could be read."""
    files: tuple[str, ...]
    """The main file and all included ones that exist; not postgresql.auto.conf."""
    directories: tuple[str, ...]
    """The included directories that exist; the server does not start if one is missing."""
    written: Mapping[str, WrittenSetting]
    """Settings of those files."""
    auto: Mapping[str, WrittenSetting]
    """Settings of postgresql.auto.conf, which override the other files'."""
    command_line: Mapping[str, WrittenSetting]

    def get(self, name: str) -> str | None:
        """Return the value of a setting; None if it is written nowhere."""
        # In the server's order of precedence.
        for place in (self.command_line, self.auto, self.written):
            if name in place:
                return place[name].value
        return None


@attrs.frozen
class Launch:
    """The arguments with which a server was last started."""

    arguments: tuple[str, ...] = ()

    @property
    def settings(self) -> dict[str, WrittenSetting]:
        """Return the settings among them."""
        pairs = [_option(*pair) for pair in self._options()]
        return {n: WrittenSetting(n, value, "the command line") for n, value in filter(None, pairs)}

    @property
    def config_dir(self) -> str | None:
        """Return the argument of ``-D``: the data directory, or the folder of the configuration."""
        # As in the server, the last of several equal options counts.
        folders = [value for name, value in self._options() if name == "-D"]
        return folders[-1] if folders else None

    @property
    def main_file(self) -> str | None:
        """Return the path of the main configuration file."""
        if "config_file" in self.settings:
            return self.settings["config_file"].value
        return None if self.config_dir is None else join(self.config_dir, _MAIN_FILE)

    def _options(self) -> Iterator[tuple[str, str]]:
        """Return the options with their values; ``--name=value`` under the name ``--``."""
        rest = iter(self.arguments)
        for argument in rest:
            if argument.startswith("--"):
                yield "--", argument[2:]
            # The only options that set something; a value may be joined or follow.
            elif argument[:2] in {"-c", "-D", "-p", "-k", "-h"}:
                yield argument[:2], argument[2:] or next(rest, "")


def launch_of(control: NodeControl) -> Launch:
    """Return the arguments of a server's last start; empty if they are not known.

    A copy of a data directory may hold the file of the original: it counts only if it leads to
    this data directory.

    Source: postmaster.opts, which stays when the server stops; pg_ctl restart reads it, too.
    """
    content = (control.read_file("postmaster.opts") or b"").decode(errors="surrogateescape")
    launch = Launch(tuple(_ARGUMENT.findall(content)))
    own, folder = normpath(control.data_directory), launch.config_dir
    if folder is None or normpath(folder) == own:
        return launch
    main_file = launch.main_file
    reader = _Reader(control)
    reader.read(main_file or "")
    directory = {**reader.settings, **launch.settings}.get("data_directory")
    is_own = main_file is not None and directory is not None and normpath(directory.value) == own
    return launch if is_own else Launch()


def read_configuration(control: NodeControl) -> Configuration:
    """Read a server's configuration files, wherever they are, with all that they include."""
    launch = launch_of(control)
    main_file = _inside(control, launch.main_file or _MAIN_FILE)
    reader = _Reader(control)
    is_found = reader.read(main_file)
    files, written = tuple(reader.files), dict(reader.settings)
    directories = tuple(reader.directories)
    # Read apart, because it comes last, and ALTER SYSTEM changes only this file.
    auto = _Reader(control)
    auto.read(AUTO_FILE)
    return Configuration(
        main_file=main_file,
        is_found=is_found,
        files=files,
        directories=directories,
        written=written,
        auto=auto.settings,
        command_line=launch.settings,
    )


def _inside(control: NodeControl, path: str) -> str:
    """Return the path from the data directory on, if it lies there."""
    whole, root = (
        normpath(join(control.data_directory, path)),
        f"{normpath(control.data_directory)}/",
    )
    return whole.removeprefix(root)


class _Reader:
    """Reads a file and those that it includes, as the server does: the last setting counts."""

    def __init__(self, control: NodeControl) -> None:
        self.settings: dict[str, WrittenSetting] = {}
        self.files: list[str] = []
        self.directories: list[str] = []
        self._control = control

    def read(self, name: str, depth: int = 0) -> bool:
        """Read a file; return whether it exists."""
        # Files may include each other.
        content = None if depth > _DEEPEST else self._control.read_file(name)
        if content is None:
            return False
        self.files.append(name)
        for number, line in enumerate(content.decode(errors="surrogateescape").split("\n"), 1):
            pair = parse_line(line)
            if pair is None:
                continue
            key, value = pair
            if key in _INCLUDES:
                self._include(key, join(dirname(name), value), depth)
            else:
                self.settings[key] = WrittenSetting(key, value, f"{name}, line {number}")
        return True

    def _include(self, key: str, path: str, depth: int) -> None:
        if key != "include_dir":
            self.read(_inside(self._control, path), depth + 1)
            return
        folder = join(self._control.data_directory, path)
        names = self._control.list_folder(folder)
        if names is not None:
            self.directories.append(_inside(self._control, path))
        # As the server: later names override earlier ones.
        for name in sorted(names or []):
            if name.endswith(".conf") and not name.startswith("."):
                self.read(_inside(self._control, join(path, name)), depth + 1)


def parse_line(line: str) -> tuple[str, str] | None:
    r"""Return the name, in lower case, and the value of a line; None for any other line.

    >>> parse_line("Restore_Command = 'cp ''/a b'' \\045p'  # from the archive")
    ('restore_command', "cp '/a b' %p")
    >>> parse_line("port 5433"), parse_line("# port = 1"), parse_line("")
    (('port', '5433'), None, None)
    """
    match = _LINE.match(line)
    if match is None:
        return None
    quoted = match["quoted"]
    value = match["bare"] if quoted is None else _ESCAPE.sub(_letter, quoted)
    return match["name"].lower(), value


def _letter(match: re.Match[str]) -> str:
    escaped = match[1]
    if escaped is None:
        return "'"
    return chr(int(escaped, 8)) if escaped[0] in "01234567" else _LETTERS.get(escaped, escaped)


def _option(name: str, value: str) -> tuple[str, str] | None:
    short = {"-p": "port", "-k": "unix_socket_directories", "-h": "listen_addresses"}
    if name in short:
        return short[name], value
    key, equals, setting = value.partition("=")
    return (key.replace("-", "_").lower(), setting) if name in {"-c", "--"} and equals else None
