"""Windows of restore, proved by recoveries: to the last moment, and beyond it."""

from __future__ import annotations

import contextlib
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import attrs
import psycopg
import pytest
from clusters import Clusters, one, run, wait_until
from walfiles import pg_wal

from pgreplkit import LSN
from pgreplkit.errors import ServerStartFailed
from pgreplkit.lab import Lab, Node
from pgreplkit.wal import Backup, BackupStatus, BackupTool, BackupType, PitrWindow, scan_archive

ROWS = 5
MISSING = 3


@attrs.frozen
class Restores:
    """A base backup and an archive, from which a server can be restored repeatedly."""

    node: Node
    backup: Path
    archive: Path

    def rows(self, **target: str) -> object:
        """Recover to a target; return what the server contains then, None if recovery failed."""
        folder = self.node.data_directory
        subprocess.run(["rm", "-r", str(folder)], check=True)
        subprocess.run(["cp", "-a", str(self.backup), str(folder)], check=True)
        recovery = {
            "restore_command": f'cp "{self.archive}/%f" "%p"',
            "recovery_target_action": "promote",
            **target,
        }
        # Without it, the server would be reachable before the recovery has ended.
        settings: dict[str, str | None] = {"hot_standby": "off"}
        if self.node.major >= 12:
            settings |= {"primary_conninfo": None, **recovery}
            (folder / "standby.signal").rename(folder / "recovery.signal")
        else:
            lines = [f"{name} = '{value}'\n" for name, value in recovery.items()]
            (folder / "recovery.conf").write_text("".join(lines))
        self.node.configure(settings)
        # pg_ctl notices the failure only if it comes soon.
        with contextlib.suppress(ServerStartFailed):
            self.node.start()
        rows: list[object] = []

        def has_ended() -> bool:
            with contextlib.suppress(psycopg.OperationalError):
                rows.append(one(self.node, "SELECT array_agg(id ORDER BY id)::text FROM moments"))
            return bool(rows) or not self.node.is_running

        wait_until(has_ended)
        self.node.stop()
        return rows[0] if rows else None


def restores(lab: Lab, major: int) -> tuple[Restores, PitrWindow]:
    """Commit a row in each of several segments, archive them but one, and find the window."""
    primary = lab.primary(version=major)
    standby = lab.standby(primary)
    standby.wait_for_streaming()
    standby.stop()
    start = LSN(str(one(primary, "SELECT redo_lsn::text FROM pg_control_checkpoint()")))
    run(primary, "CREATE TABLE moments (id int)")
    for number in range(ROWS):
        run(primary, f"INSERT INTO moments VALUES ({number})")
        run(primary, "SELECT pg_switch_wal()")
    archive, backup = lab.root / f"archive{major}", lab.root / f"backup{major}"
    archive.mkdir()
    end = LSN(str(one(primary, "SELECT pg_current_wal_lsn()::text"))).wal_file(timeline=1)
    names = sorted(path.name for path in pg_wal(primary).iterdir() if len(path.name) == 24)
    names = [name for name in names if name < str(end)]
    for name in names:
        subprocess.run(["cp", "-a", str(pg_wal(primary) / name), str(archive)], check=True)
    (archive / str(end - (ROWS - MISSING))).unlink()
    archive.chmod(0o755)
    subprocess.run(["cp", "-a", str(standby.data_directory), str(backup)], check=True)
    described = Backup(
        id="standby",
        tool=BackupTool.PG_BASEBACKUP,
        type=BackupType.FULL,
        status=BackupStatus.DONE,
        timeline=1,
        start_lsn=start,
        stop_lsn=start,
    )
    [window] = scan_archive(archive, verify=True).windows([described])
    return Restores(standby, backup, archive), window


@pytest.mark.matrix
def test_recovery_reaches_the_end_of_the_window_and_nothing_beyond(
    clusters: Clusters, major: int
) -> None:
    restored, window = restores(clusters.lab, major)
    assert window.ended_by == "gap"
    assert window.until is not None
    assert window.last_commit is not None
    kept = "{" + ",".join(map(str, range(MISSING))) + "}"
    # Recovery to the latest time stops before the last commit; to the last record, after it.
    fewer = "{" + ",".join(map(str, range(MISSING - 1))) + "}"
    assert restored.rows(recovery_target_time=text_of(window.until)) == fewer
    assert restored.rows(recovery_target_lsn=str(window.to_lsn)) == kept
    beyond = window.last_commit + timedelta(seconds=1)
    # Before 13, a recovery that does not reach its target ends as if it had.
    at_most = None if major >= 13 else kept
    assert restored.rows(recovery_target_time=text_of(beyond)) == at_most
    assert restored.rows(recovery_target_lsn=str(LSN(int(window.to_lsn or 0) + 8))) == at_most


def text_of(time: datetime) -> str:
    return time.isoformat(sep=" ")
