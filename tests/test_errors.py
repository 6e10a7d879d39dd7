"""The errors: one tree, facts as attributes, short texts, and pickles."""

import ast
import copy
import pickle
import re
from datetime import timedelta
from pathlib import Path

import pytest
from errorclasses import CLASSES, REFUSALS

from pgreplkit import LSN, Error, errors
from pgreplkit.rows import Finding, Severity, StuckReason, SubscriptionProblem

STUCK = Finding(check="archiver", severity=Severity.CRITICAL, found="stuck", needed="not stuck")
NO_SLOT = SubscriptionProblem(
    reason=StuckReason.DETACHED, found="it has no slot", remedy="attach_slot()"
)
SAMPLES: list[Error] = [
    *(kind("x" * 500, "it is too long") for kind in REFUSALS),
    Error("something"),
    errors.ExtraMissing("lab", "psutil", "No module named 'psutil'"),
    errors.TimelineNotInHistory(7, (1, 2, 5)),
    errors.NodeNotFound("db3", ("db1", "db2")),
    *(
        kind("run the feed 'orders'", "it has ended")
        for kind in (errors.FeedError, errors.SinkUnreachable, errors.SinkRefused)
    ),
    errors.SinkFenced("run the feed 'orders'", "another process wrote"),
    errors.WrongSource("run the feed 'orders'", "its position is of the cluster 7"),
    errors.MessageTooLarge("send (0/5, 1)", 2_000_000, 1_048_576),
    errors.SinkNotFitting("open the stream CDC", "allow_atomic", "it is off", remedy="set it"),
    errors.EncodingFailed("encode (0/5, 1)", "it returned a str", "0/5", 1),
    errors.PositionLost("run the feed 'orders'", "0/5", None),
    errors.PositionLost("run the feed 'orders'", "0/5", None, "wal_removed"),
    *(
        kind("pg_promote()", "permission denied", "42501")
        for kind in (
            *(errors.ServerError, errors.ConnectionFailed, errors.LoginRefused),
            errors.StatementTimeout,
        )
    ),
    errors.NotAPrimary("Primary.connect", "it is in recovery"),
    errors.NotAStandby("Standby.connect", "it is not in recovery", None),
    errors.InvalidSlotName("a" * 41, "it has 41 characters", "at most 40 characters"),
    errors.UnsupportedByServer("slot.failover", 17, "16.4"),
    errors.UnsupportedByServer("a trigger file", 10, "18.4", until=15),
    errors.InsufficientPrivilege("pg_stat_replication", "joe", "pg_monitor"),
    errors.SettingNotFound("SHOW io_method", "unrecognized configuration parameter", "42704"),
    errors.SlotNotFound("read the slot 'a'", "there is no slot of that name"),
    errors.SlotLost("peek into the slot 'a'", "it is lost"),
    errors.SlotActive("drop the slot 'a'", "a", 17, "10.0.0.7", "db2"),
    errors.AlreadyExists("create the slot 'a'", "replication slot already exists", "42710"),
    errors.PublicationNotFound("read the publication 'a'", "there is none of that name"),
    errors.PublicationGap("stream the slot 'a'", "it did not exist"),
    errors.TableNotFound("read the replica identities", "there is no table public.a"),
    errors.ReplicaIdentityMissing("create the publication 'a'", {"public.t": "ALTER TABLE …"}),
    errors.ExtensionMissing("look for pglogical", "pglogical"),
    errors.LogUnavailable("read the server's log", "it collects none"),
    errors.StreamClosed("acknowledge 0/5", "the stream has ended"),
    errors.WalRemoved("stream WAL from 0/5", "the segment has been removed", "58P01"),
    errors.AheadOfServer("stream the slot 'a'", "0/9", "0/5"),
    errors.ValueNotLoadable("public.t", "at", "'infinity'", "timestamp too large"),
    errors.UpgradeActive("run the cutover of shop", "old", 17, "10.0.0.5", "psql"),
    errors.KeyMissing("compare public.t", "it has no unique key"),
    errors.SubscriptionNotFound("read the subscription 'a'", "there is none of that name"),
    errors.PublisherUnreachable("drop the subscription 'a'", "timeout expired"),
    errors.SubscriptionStuck("'a' was not synchronized in 5 s", (NO_SLOT,)),
    errors.RoleNotFound("alter the role 'a'", "role does not exist", "42704"),
    errors.QuorumUnreachable("ANY 2 (a, b)", ("a",)),
    errors.HostFileError("add a line to /x/pg_hba.conf", "Permission denied"),
    errors.WalNotFound("read WAL from 0/5 on", "/x holds WAL from 0/7 to 0/9"),
    errors.InvalidWal("the record's length is 5 bytes", path="/x/0", lsn=LSN("0/5")),
    errors.SplitBrain({"a": 1, "b": 2}, 1, LSN("0/5")),
    errors.SameServer("read the topology", (("a", "vip"),)),
    errors.ControlFailed("stop db1", "pg_ctl: server does not shut down"),
    errors.PlanRefused("switchover to db2", (STUCK,)),
    errors.PlanFailed(
        *("switchover to db2", "stop db1", "it does not shut down", ("checkpoint",)),
        *("db1 writes", "resume()", "-"),
    ),
    errors.PatroniError("read Patroni's cluster", "the answer is not Patroni's"),
    errors.PatroniUnreachable("read Patroni's cluster", "no member answers: http://a"),
    errors.PatroniRefused("switch over by Patroni", "candidate does not exist", 412),
    errors.BackupDamaged("extract a backup", ("base/1/2 is missing", "a has 1 bytes instead of 2")),
    errors.ApplyError("copy public.t", "the subscriber's table public.t has rows"),
    errors.SchemaMismatch("public.t", ("no column 'n'",), ("ALTER TABLE t ADD n int",)),
    errors.ApplyFailed(7, "0/5", "public.t", 2, "it violates a constraint", "23514"),
    errors.ApplierActive("orders", 17),
    errors.ClockSkewTooLarge("apply", timedelta(seconds=9), timedelta(seconds=5)),
    errors.OriginLoop("run the applier 'orders'", "pgreplkit_orders"),
    errors.OriginLoop("run the applier 'orders'", None, "it would send back what 'x' applies"),
    errors.CheckNotFound("slots", ("wal_level",)),
    errors.ColumnNotFound("age", ("id", "name")),
    errors.LabError("no room"),
    errors.ServerNotFound("no server of 9.6 on this machine"),
    errors.ServerStartFailed("initdb failed: …"),
    errors.WaitTimeout("standby did not reach 0/5: it is at 0/4"),
]
ALSO = {
    "InvalidValue": ValueError,
    "TimelineNotInHistory": LookupError,
    "NodeNotFound": KeyError,
    "CheckNotFound": KeyError,
    "ColumnNotFound": KeyError,
    "SettingNotFound": LookupError,
    "PublicationNotFound": LookupError,
    "PublicationGap": LookupError,
    "SubscriptionNotFound": LookupError,
    "TableNotFound": LookupError,
    "SlotNotFound": LookupError,
    "RoleNotFound": LookupError,
    "WaitTimeout": TimeoutError,
    "WalNotFound": LookupError,
    "InvalidWal": ValueError,
    "SameServer": ValueError,
    "ExtraMissing": ImportError,
}

every_error = pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)


def test_what_only_an_owner_may_do_is_no_grant() -> None:
    error = errors.InsufficientPrivilege("drop it", "joe", "ownership of public.t")
    assert error.remedy == 'connect as the owner of public.t, or GRANT that role TO "joe"'


def drawn_tree() -> dict[str, str | None]:
    """Return each name in the docstring's tree with its parent."""
    parents: dict[str, str | None] = {}
    path: dict[int, str] = {}
    picture = (errors.__doc__ or "").split("::\n")[1].split("\n\nAn argument")[0]
    for line in picture.splitlines():
        names = list(re.finditer(r"\w+", re.sub(r"\(.*?\)", "", line)))
        if names:
            depth = names[0].start()
            parent = path.get(max((d for d in path if d < depth), default=-1))
            parents |= {name[0]: parent for name in names}
            path = {d: name for d, name in path.items() if d < depth} | {depth: names[0][0]}
    return parents


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    bases = {
        name: next((b.__name__ for b in kind.__mro__[1:] if b in CLASSES.values()), None)
        for name, kind in CLASSES.items()
    }
    assert drawn_tree() == bases


def test_the_docstring_names_the_other_bases() -> None:
    said = dict(re.findall(r"(\w+) \(also an? (\w+)\)", errors.__doc__ or ""))
    assert said == {name: kind.__name__ for name, kind in ALSO.items()}
    assert all(issubclass(CLASSES[name], kind) for name, kind in ALSO.items())


def test_every_error_is_public() -> None:
    assert {name: getattr(errors, name) for name in CLASSES} == CLASSES
    assert {kind.__module__ for kind in CLASSES.values()} == {"pgreplkit", "pgreplkit.errors"}


def test_every_class_has_a_sample() -> None:
    assert {type(error).__name__ for error in SAMPLES} == CLASSES.keys()


@every_error
def test_a_pickled_error_keeps_its_text_and_attributes(error: Error) -> None:
    pickled = [
        pickle.loads(pickle.dumps(error, protocol))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    ]
    for twin in (copy.copy(error), copy.deepcopy(error), *pickled):
        assert type(twin) is type(error)
        assert (str(twin), twin.args, vars(twin)) == (str(error), error.args, vars(error))


@every_error
def test_an_error_can_be_caught_by_the_one_base(error: Error) -> None:
    with pytest.raises(Error) as caught:
        raise error
    assert str(caught.value)


def test_errors_of_wrong_types_have_one_template() -> None:
    others = [
        text
        for path in Path(errors.__file__).parents[1].rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "TypeError"
        if "{type(" in (text := ast.unparse(node)) and "step" not in text
        if not re.search(r"(must|takes?|contains)\b.*, not |has no method", text)
    ]
    assert others == []
