"""The names of resource managers and of their kinds of records, by major version."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping

MANAGERS = [
    "XLOG",
    "Transaction",
    "Storage",
    "CLOG",
    "Database",
    "Tablespace",
    "MultiXact",
    "RelMap",
    "Standby",
    "Heap2",
    "Heap",
    "Btree",
    "Hash",
    "Gin",
    "Gist",
    "Sequence",
    "SPGist",
    "BRIN",
    "CommitTs",
    "ReplicationOrigin",
    "Generic",
    "LogicalMessage",
]
"""The resource managers of 10 to 18, by their number."""
FIRST_CUSTOM = 128
"""Numbers from here on belong to extensions (15 and later)."""

XLOG, TRANSACTION, STORAGE, HEAP2, HEAP, BRIN = 0, 1, 2, 9, 10, 17
STANDBY, LOGICAL_MESSAGE = 8, 21
SWITCH = 0x40
"""The kind of XLOG after which the rest of a segment is empty."""

_OLDEST, _NEWEST = 10, 18
_KINDS = """
XLOG 00 CHECKPOINT_SHUTDOWN | 10 CHECKPOINT_ONLINE | 20 NOOP | 30 NEXTOID | 40 SWITCH
XLOG 50 BACKUP_END | 60 PARAMETER_CHANGE | 70 RESTORE_POINT | 80 FPW_CHANGE | 90 END_OF_RECOVERY
XLOG A0 FPI_FOR_HINT | B0 FPI | D0 OVERWRITE_CONTRECORD | E0 CHECKPOINT_REDO 17-
Transaction 00 COMMIT | 10 PREPARE | 20 ABORT | 30 COMMIT_PREPARED | 40 ABORT_PREPARED
Transaction 50 ASSIGNMENT | 60 INVALIDATION 14-
Storage 10 CREATE | 20 TRUNCATE
CLOG 00 ZEROPAGE | 10 TRUNCATE
Database 00 CREATE -14 | 10 DROP -14
Database 00 CREATE_FILE_COPY 15- | 10 CREATE_WAL_LOG 15- | 20 DROP 15-
Tablespace 00 CREATE | 10 DROP
MultiXact 00 ZERO_OFF_PAGE | 10 ZERO_MEM_PAGE | 20 CREATE_ID | 30 TRUNCATE_ID
RelMap 00 UPDATE
Standby 00 LOCK | 10 RUNNING_XACTS | 20 INVALIDATIONS
Heap2 00 REWRITE | 10 CLEAN -13 | 10 PRUNE 14-16 | 10 PRUNE_ON_ACCESS 17-
Heap2 20 FREEZE_PAGE -13 | 20 VACUUM 14-16 | 20 PRUNE_VACUUM_SCAN 17-
Heap2 30 CLEANUP_INFO -13 | 30 FREEZE_PAGE 14-16 | 30 PRUNE_VACUUM_CLEANUP 17-
Heap2 40 VISIBLE | 50 MULTI_INSERT | 60 LOCK_UPDATED | 70 NEW_CID
Heap 00 INSERT | 10 DELETE | 20 UPDATE | 30 TRUNCATE 11- | 40 HOT_UPDATE | 50 HEAP_CONFIRM
Heap 60 LOCK | 70 INPLACE
Btree 00 INSERT_LEAF | 10 INSERT_UPPER | 20 INSERT_META | 30 SPLIT_L | 40 SPLIT_R
Btree 50 SPLIT_L_ROOT -10 | 60 SPLIT_R_ROOT -10 | 50 INSERT_POST 13- | 60 DEDUP 13-
Btree 70 DELETE | 80 UNLINK_PAGE | 90 UNLINK_PAGE_META | A0 NEWROOT | B0 MARK_PAGE_HALFDEAD
Btree C0 VACUUM | D0 REUSE_PAGE | E0 META_CLEANUP 11-
Hash 00 INIT_META_PAGE | 10 INIT_BITMAP_PAGE | 20 INSERT | 30 ADD_OVFL_PAGE
Hash 40 SPLIT_ALLOCATE_PAGE | 50 SPLIT_PAGE | 60 SPLIT_COMPLETE | 70 MOVE_PAGE_CONTENTS
Hash 80 SQUEEZE_PAGE | 90 DELETE | A0 SPLIT_CLEANUP | B0 UPDATE_META_PAGE | C0 VACUUM_ONE_PAGE
Gin 00 CREATE_INDEX -11 | 10 CREATE_PTREE | 20 INSERT | 30 SPLIT | 40 VACUUM_PAGE
Gin 50 DELETE_PAGE | 60 UPDATE_META_PAGE | 70 INSERT_LISTPAGE | 80 DELETE_LISTPAGE
Gin 90 VACUUM_DATA_LEAF_PAGE
Gist 00 PAGE_UPDATE | 10 DELETE | 20 PAGE_REUSE | 30 PAGE_SPLIT | 50 CREATE_INDEX -11
Gist 60 PAGE_DELETE 12- | 70 ASSIGN_LSN 14-
Sequence 00 LOG
SPGist 00 CREATE_INDEX -11 | 10 ADD_LEAF | 20 MOVE_LEAFS | 30 ADD_NODE | 40 SPLIT_TUPLE
SPGist 50 PICKSPLIT | 60 VACUUM_LEAF | 70 VACUUM_ROOT | 80 VACUUM_REDIRECT
BRIN 00 CREATE_INDEX | 10 INSERT | 20 UPDATE | 30 SAMEPAGE_UPDATE | 40 REVMAP_EXTEND
BRIN 50 DESUMMARIZE
CommitTs 00 ZEROPAGE | 10 TRUNCATE | 20 SETTS -13
ReplicationOrigin 00 SET | 10 DROP
Generic 00 Generic
LogicalMessage 00 MESSAGE
"""
"""Resource manager, number, name, and the major versions if not all: the names of pg_waldump."""

_FLAGGED = {TRANSACTION: "", HEAP2: "+INIT", HEAP: "+INIT", BRIN: "+INIT"}
"""Managers whose numbers have a flag (80), and the suffix of the name for it."""
_FLAG = 0x80


@functools.cache
def kinds_of(major: int) -> Mapping[int, tuple[str, str]]:
    """Return the names of a record's manager and kind by ``manager << 8 | info & F0``."""
    kinds: dict[int, tuple[str, str]] = {}
    for name, number, kind, first, last in _entries():
        if first <= major <= last:
            manager = MANAGERS.index(name)
            kinds[manager << 8 | number] = (name, kind)
            if manager in _FLAGGED:
                kinds[manager << 8 | number | _FLAG] = (name, kind + _FLAGGED[manager])
    return kinds


def kind_of(major: int, manager: int, info: int) -> tuple[str, str]:
    """Return the names of a record's manager and kind; UNKNOWN for what no server writes."""
    # The lower half of ``info`` is the server's own, and no part of the kind.
    key = manager << 8 | info & 0xF0
    return kinds_of(major).get(key) or (manager_name(manager), f"UNKNOWN ({info & 0xF0:X})")


def manager_name(manager: int) -> str:
    """Return the name of a resource manager, as pg_waldump prints it."""
    return MANAGERS[manager] if manager < len(MANAGERS) else f"custom{manager:03d}"


def _entries() -> Iterator[tuple[str, int, str, int, int]]:
    for line in _KINDS.split("\n"):
        manager, _, kinds = line.partition(" ")
        for entry in kinds.split("|") if kinds else ():
            number, kind, *majors = entry.split()
            first, _, last = majors[0].partition("-") if majors else ("", "", "")
            yield manager, int(number, 16), kind, int(first or _OLDEST), int(last or _NEWEST)
