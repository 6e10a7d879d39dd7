"""Files of a data directory that belong to one server, kept while pg_rewind replaces the others."""

from __future__ import annotations

from posixpath import basename, join
from urllib.parse import quote, unquote

from pgreplkit.errors import ControlFailed
from pgreplkit.host.configuration import AUTO_FILE, read_configuration
from pgreplkit.host.nodecontrol import NodeControl

_ALWAYS = (
    *("postgresql.conf", AUTO_FILE, "pg_hba.conf", "pg_ident.conf", "server.crt", "server.key"),
    "postmaster.opts",
)
"""Files that a server has by default; the last one says where its configuration is."""
_NAMED_BY = (
    *("hba_file", "ident_file", "krb_server_keyfile", "ssl_dh_params_file"),
    *("ssl_ca_file", "ssl_cert_file", "ssl_crl_file", "ssl_key_file"),
)
_SUFFIXES = (".conf", ".crt", ".key", ".pem", ".crl")
"""Of files that an administrator put there, and that other files may include."""
_COMPLETE = "complete"
"""Marks a folder in which all files are kept; in one without it some may be missing. It contains
the included directories, one in each line."""
_PLACEHOLDER = ".pgreplkit"
"""File that is written and removed to create an empty directory."""


def own_files(control: NodeControl) -> list[str]:
    """Return the names of a server's own files: its configuration with all includes, and keys.

    pg_rewind replaces them with the source's, and removes those that the source lacks.
    """
    configuration = read_configuration(control)
    named = [configuration.get(setting) or "" for setting in _NAMED_BY]
    there = [
        name
        for name in control.list_folder(control.data_directory) or []
        if name.endswith(_SUFFIXES)
    ]
    names = dict.fromkeys([*_ALWAYS, *configuration.files, *named, *there])
    # recovery.conf says what the server is now, and is written again by a step.
    return [name for name in names if name not in {"", "recovery.conf"} and _is_inside(name)]


def _is_inside(name: str) -> bool:
    return not name.startswith(("/", ".."))


def keep_files(control: NodeControl, folder: str) -> None:
    """Copy a server's own files into a folder; the files of an interrupted attempt stay there.

    They are the originals: those in the data directory may be the source's already.
    """
    if control.read_file(f"{folder}/{_COMPLETE}") is not None:
        return
    for name in own_files(control):
        content = control.read_file(name)
        if content is not None:
            control.write_file(f"{folder}/{quote(name, safe='')}", content)
    # Last: an attempt that was interrupted before copies everything again.
    directories = filter(_is_inside, read_configuration(control).directories)
    listed = "".join(f"{quote(name)}\n" for name in directories)
    control.write_file(f"{folder}/{_COMPLETE}", listed.encode())


def restore_files(control: NodeControl, folder: str) -> None:
    """Put the kept files back, remove the source's of the same kind, and remove the folder."""
    kept = control.list_folder(folder) or []
    for name in _ALWAYS:
        # The server had no such file: pg_rewind copied the source's.
        if quote(name, safe="") not in kept:
            control.write_file(name, None)
    for name in kept:
        if name == _COMPLETE:
            continue
        content = control.read_file(f"{folder}/{name}")
        if content is None:
            raise ControlFailed(f"restore {unquote(name)}", f"{basename(name)} is gone")
        control.write_file(unquote(name), content)
    directories = (control.read_file(f"{folder}/{_COMPLETE}") or b"").decode()
    for name in map(unquote, directories.splitlines()):
        if control.list_folder(join(control.data_directory, name)) is None:
            # pg_rewind removed it: the source lacks it, and no kept file was in it.
            control.write_file(join(name, _PLACEHOLDER), b"")
            control.write_file(join(name, _PLACEHOLDER), None)
    control.remove_folder(folder)
