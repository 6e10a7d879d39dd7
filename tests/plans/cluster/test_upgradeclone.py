"""The checks and the steps of a preparation by clone."""

from __future__ import annotations

from typing import get_args

import attrs
import pytest
from serverfacts import settings as settings_of
from upgradefacts import NO_KEY, side, table

from pgreplkit.catalog.cluster.upgradeclone import ClusterFacts
from pgreplkit.plans.cluster import upgradesteps as do
from pgreplkit.plans.cluster.journal import Journal
from pgreplkit.plans.cluster.steps import DropSlots
from pgreplkit.plans.cluster.upgrade import Names
from pgreplkit.plans.cluster.upgradeclone import (
    OWN_HBA,
    CloneFacts,
    UpgradeTransfer,
    checked_transfer,
    clone_findings,
    clone_journal,
    has_includes,
    initdb_arguments,
    obstacles,
    recovery_configuration,
    upgrade_arguments,
    written_mappings,
    written_rules,
)
from pgreplkit.plans.cluster.upgradegroups import TableGroup
from pgreplkit.plans.cluster.upgradestatus import UpgradePhase, phase_of
from pgreplkit.rows import HbaRule
from pgreplkit.values.finding import Severity
from pgreplkit.values.tablename import TableName

CLUSTER = ClusterFacts(
    superuser="boss",
    encoding="UTF8",
    collate="C",
    ctype="C.UTF-8",
    has_checksums=False,
    segment_megabytes=16,
    other_databases=(),
    tablespaces=(),
    libraries=(),
    hba="",
    ident=None,
)
GROUPS = [TableGroup(tables=(TableName("public", name),), bytes=1) for name in "ab"]
JOURNAL = clone_journal(
    Names(upgrade="shop"), GROUPS, directory="/d", copy="/d.copy", transfer="link"
)


def test_the_slots_come_after_the_copy_and_the_fence_before_the_subscription() -> None:
    kinds = [type(step) for step in JOURNAL.steps]
    order = [
        # By its identity a stale journal is known; and before the slots, which decode with the
        # catalogs of their position.
        do.PublishTables,
        do.CopyServer,
        do.MakeForwardSlots,
        do.RecoverCopy,
        DropSlots,
        do.UpgradeCopy,
        do.StartUpgraded,
        do.DropCopiedPublications,
        do.FenceTables,
        do.SubscribeAt,
        do.RemoveCopy,
        do.AnalyzeUpgraded,
    ]
    assert sorted(order, key=kinds.index) == order
    assert (kinds[-1], JOURNAL.steps[-1].node) == (do.KeepSchema, "new")
    # The first publication has the schemas of both servers.
    kept = [step.publication for step in JOURNAL.steps if isinstance(step, do.KeepSchema)]
    assert kept == ["shop_1", "shop_1"]
    # Each step can be undone, because the old server accepts writes all the time.
    assert not any(step.is_final for step in JOURNAL.steps)
    assert Journal.from_json(JOURNAL.to_json()) == JOURNAL
    fence = next(step for step in JOURNAL.steps if isinstance(step, do.FenceTables))
    assert fence.tables == ("public.a", "public.b")
    # Until the plan is complete, the upgrade is not prepared.
    phase = phase_of([], old_is_fenced=False, new_is_fenced=True, interrupted=JOURNAL.operation)
    assert phase is UpgradePhase.COPYING


def facts_of(
    cluster: dict[str, object] | None = None, old: dict[str, object] | None = None, **more: object
) -> CloneFacts:
    whole: dict[str, object] = {
        "tables": [table("a")],
        "identities": (),
        "groups": 1,
        "connection_error": "",
        "database": "shop",
        "ports": ["5432"],
        "port": "5432",
        "answering": "",
        "majors": {"bindir": 18, "old_bindir": 14},
        "contents": {"/d": [], "/d.copy": []},
        "creator": "mover",
        "may_subscribe": True,
        **more,
    }
    changed = attrs.evolve(CLUSTER, **(cluster or {}))  # type: ignore[arg-type]
    return CloneFacts(old=side(14, 1, old), cluster=changed, **whole)  # type: ignore[arg-type]


def test_an_ordinary_server_is_ready_for_a_clone() -> None:
    assert {f.severity for f in clone_findings(facts_of())} == {Severity.OK}
    majors = {"bindir": 15, "old_bindir": 14}
    assert {f.severity for f in clone_findings(facts_of(majors=majors))} == {Severity.OK}
    # With several hosts, the new server is one of them.
    several = facts_of(ports=["5432", "5433"], port="5433")
    assert {f.severity for f in clone_findings(several)} == {Severity.OK}


CRITICAL, WARNING = Severity.CRITICAL, Severity.WARNING


def test_what_all_checks_need_is_found_first() -> None:
    assert [*obstacles("", [])] == []
    found = [*obstacles("/d is missing", ["initdb in bindir", "psql in bindir"])]
    assert {finding.severity for finding in found} == {CRITICAL}
    assert [finding.found for finding in found] == [
        "/d is missing",
        "initdb in bindir, psql in bindir",
    ]


@pytest.mark.parametrize(
    ("check", "severity", "shown", "facts"),
    [
        ("programs", CRITICAL, "13", facts_of(majors={"bindir": 18, "old_bindir": 13})),
        ("subscriptions", CRITICAL, "a superuser", facts_of(may_subscribe=False)),
        ("subscriptions", CRITICAL, "there is no role mover", facts_of(may_subscribe=None)),
        (
            "subscriptions",
            CRITICAL,
            'GRANT pg_create_subscription TO "mover"; GRANT CREATE ON DATABASE "shop" TO "mover"',
            facts_of(
                old={"version": 160013},
                may_subscribe=False,
                majors={"bindir": 18, "old_bindir": 16},
            ),
        ),
        ("port", CRITICAL, "'port': '5433'", facts_of(ports=["5433", "5434"])),
        ("port", CRITICAL, "new= with port=5433", facts_of(port="5433")),
        ("programs", CRITICAL, "13", facts_of(majors={"bindir": 13, "old_bindir": 14})),
        ("programs", CRITICAL, "newer", facts_of(majors={"bindir": 14, "old_bindir": 14})),
        ("pg_hba.conf", WARNING, "before the cutover", facts_of({"hba": None})),
        ("directory /d", CRITICAL, "'x'", facts_of(contents={"/d": ["x"], "/d.copy": []})),
        ("old: leftovers", CRITICAL, "shop_1", facts_of(old={"leftovers": ["slot shop_1"]})),
        (
            "groups",
            CRITICAL,
            "2 groups",
            facts_of(groups=2, old={"version": 100023}, majors={"bindir": 18, "old_bindir": 10}),
        ),
        ("new reaches old", CRITICAL, "pg_hba", facts_of(connection_error="no pg_hba.conf entry")),
        (
            "address",
            CRITICAL,
            "the old server answers",
            facts_of(answering="the old server answers"),
        ),
        ("database", CRITICAL, "crm", facts_of(database="crm")),
        ("account", CRITICAL, "chown postgres /d", facts_of(root_folder="/d")),
        ("paths", CRITICAL, "quotes", facts_of(refused_paths=["/d has quotes"])),
        ("servers", CRITICAL, "process 17", facts_of(servers=[17])),
        (
            "socket",
            CRITICAL,
            "108 bytes",
            facts_of(contents={"/d": [], f"/{'d' * 87}.copy": []}),
        ),
        ("old: wal_level", CRITICAL, "r", facts_of(old={"settings": {"wal_level": "replica"}})),
        (
            "old: max_replication_slots",
            CRITICAL,
            "2, 0 used",
            facts_of(groups=2, old={"settings": {"max_replication_slots": 2}}),
        ),
        (
            "old: max_wal_senders",
            CRITICAL,
            "1, 0 used",
            facts_of(old={"settings": {"max_wal_senders": 1}}),
        ),
        (
            "old: max_wal_senders",
            CRITICAL,
            "2, 0 used",
            facts_of(groups=3, old={"settings": {"max_wal_senders": 2}}),
        ),
        (
            "old: max_slot_wal_keep_size",
            WARNING,
            "bytes",
            facts_of(old={"settings": {"max_slot_wal_keep_size": 1 << 20}}),
        ),
        ("old: timeouts", WARNING, "s", facts_of(old={"settings": {"statement_timeout": 5}})),
        (
            "old: minor release",
            WARNING,
            "16.11",
            facts_of(old={"version": 160011}, majors={"bindir": 18, "old_bindir": 16}),
        ),
        ("old: rights", CRITICAL, "GRANT b", facts_of(old={"missing": ["GRANT b"]})),
        (
            "XML columns",
            CRITICAL,
            "built with libxml",
            facts_of(tables=[table("a", xml_columns=("x",)), table("b")], new_reads_xml=False),
        ),
        ("tables", CRITICAL, "0 tables", facts_of(tables=[])),
        ("replica identity", CRITICAL, "a", facts_of(identities=(NO_KEY,))),
        (
            "updates without an index",
            WARNING,
            "a",
            facts_of(tables=[table("a", slow_changes=1, index_methods=("gin",))]),
        ),
        ("large objects", WARNING, "3", facts_of(old={"large_objects": 3})),
        ("other databases", WARNING, "crm", facts_of({"other_databases": ("crm",)})),
        ("other subscriptions", CRITICAL, "feed", facts_of(old={"subscriptions": ("feed",)})),
        ("tablespaces", CRITICAL, "fast", facts_of({"tablespaces": ("fast",)})),
        (
            "libraries",
            CRITICAL,
            "install the packages with $libdir/a, $libdir/b",
            facts_of(missing_libraries=["$libdir/a", "$libdir/b"]),
        ),
        ("libraries", Severity.INFO, "no pg_config", facts_of(missing_libraries=None)),
        (
            "rows of extensions",
            WARNING,
            "public.rates",
            facts_of(old={"filled_extensions": ("public.rates",)}),
        ),
        (
            "unlogged tables",
            WARNING,
            "public.u",
            facts_of(tables=[table("a"), table("u", persistence="u")]),
        ),
        ("prepared transactions", CRITICAL, "x", facts_of(old={"prepared": ("x",)})),
        (
            "functions without a search_path",
            CRITICAL,
            "f()",
            facts_of(old={"unsafe_functions": ("f()",)}),
        ),
    ],
)
def test_each_precondition_of_a_clone_is_found(
    check: str, severity: Severity, shown: str, facts: CloneFacts
) -> None:
    [bad] = [finding for finding in clone_findings(facts) if finding.severity > Severity.OK]
    assert (bad.check, bad.severity) == (check, severity)
    assert shown in f"{bad.found} {bad.needed} {bad.remedy}"


def test_initdb_gets_what_pg_upgrade_compares() -> None:
    arguments = initdb_arguments(CLUSTER, "/d", major=17)
    assert arguments[:6] == [
        "--pgdata=/d",
        "--username=boss",
        "--encoding=UTF8",
        "--lc-collate=C",
        "--lc-ctype=C.UTF-8",
        "--wal-segsize=16",
    ]
    # pg_upgrade flushes the files.
    assert "--no-sync" in arguments
    assert not [one for one in arguments if "checksums" in one]
    # From 18 on, checksums are the default.
    assert "--no-data-checksums" in initdb_arguments(CLUSTER, "/d", major=18)
    with_checksums = attrs.evolve(CLUSTER, has_checksums=True)
    for major in (17, 18):
        assert initdb_arguments(with_checksums, "/d", major=major)[-1] == "--data-checksums"


def test_the_mode_of_pg_upgrade_is_one_of_three() -> None:
    for transfer, option in (("link", ["--link"]), ("clone", ["--clone"]), ("copy", [])):
        for major, sockets in ((11, []), (12, ["--socketdir=/d.copy"])):
            arguments = upgrade_arguments(
                CLUSTER,
                major=major,
                old_bindir="/10",
                copy="/d.copy",
                directory="/d",
                transfer=transfer,
            )
            directories = ["--old-bindir=/10", "--old-datadir=/d.copy", "--new-datadir=/d"]
            assert arguments[:3] == directories
            assert arguments[4:] == ["--jobs=4", *sockets, *option]
        assert checked_transfer(transfer) == transfer
    assert {*get_args(UpgradeTransfer)} == {"link", "clone", "copy"}
    with pytest.raises(ValueError, match="one of link, copy, clone, got 'swap'"):
        checked_transfer("swap")


def test_the_copy_is_recovered_without_the_old_configuration() -> None:
    limits = {
        "max_connections": 300,
        "max_prepared_transactions": 20,
        "max_locks_per_transaction": 128,
        "archive_command": "cp",
    }
    text = recovery_configuration("/it's", settings_of(**limits))
    assert "hba_file = '/it''s/pgreplkit_hba.conf'\n" in text
    assert "listen_addresses = ''\n" in text
    assert "max_logical_replication_workers = 0\n" in text
    # The replay of PREPARE TRANSACTION needs a place, and the locks that it holds.
    assert "max_connections = 300\nmax_prepared_transactions = 20\n" in text
    assert "max_locks_per_transaction = 128\n" in text
    assert "archive" not in text


def test_the_names_of_an_upgrade_include_the_way_back_and_the_slot_of_the_copy() -> None:
    left = ["shop_2", "shop_copy", "shop_1", "shop_1_back", "other_copy", "shop_fence"]
    assert Names(upgrade="shop").own_in(left) == ["shop_1", "shop_2", "shop_1_back", "shop_copy"]


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("# include other\nlocal all all peer # @x\n", False),
        ("local all a@b trust\n", False),
        ("include_if_exists other\n", True),
        ("local all all peer\n include other\n", True),
        ("host all @admins all md5\n", True),
        ("host a,@databases all all md5\n", True),
    ],
)
def test_files_that_pg_hba_conf_includes_are_noticed(text: str, has: bool) -> None:
    assert has_includes(text) is has


def test_rules_of_several_files_are_written_as_one_file() -> None:
    def rule(type: str | None, *options: str, error: str | None = None) -> HbaRule:
        return HbaRule(
            line_number=1,
            type=type,
            database=["all", "a, b"],
            user_name=["+dba"],
            address=type and "10.0.0.0",
            netmask=type and "255.0.0.0",
            auth_method="ldap",
            options=options,
            error=error,
        )

    rules = [rule("host", "ldapprefix=cn= x", "map=m"), rule(None, error="invalid")]
    assert (
        written_rules(rules)
        == 'host all,"a, b" +dba 10.0.0.0 255.0.0.0 ldap "ldapprefix=cn= x" map=m\n'
    )
    assert written_mappings([["m", "/^(.*) x$", "\\1"]]) == 'm "/^(.*) x$" \\1\n'


def test_without_the_old_pg_hba_only_the_machine_itself_connects() -> None:
    hosts = [line.split() for line in OWN_HBA.decode().splitlines() if line.startswith("host")]
    assert [line[3] for line in hosts] == ["samehost"]
