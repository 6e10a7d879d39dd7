"""Objects that an upgrade does not replicate are moved as its how-to page says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from clusters import Cluster, Clusters, wait_until
from databases import make_database, remove_databases

from pgreplkit import Primary
from pgreplkit.errors import PlanRefused
from pgreplkit.lab import Node
from pgreplkit.upgrade import Upgrade

pytestmark = pytest.mark.one_colour

PAGE = Path(__file__).parents[3] / "docs/how-to/upgrade-to-a-new-major-version.md"
UNLINK = "SELECT lo_unlink(oid) FROM pg_largeobject_metadata"


def block(language: str, content: str) -> str:
    """Return the block of the page that has a text."""
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    [found] = [one for one in blocks if content in one]
    return str(found)


def function(name: str) -> Callable[..., None]:
    """Return a function of the page."""
    defined: dict[str, Callable[..., None]] = {}
    exec(block("python", f"def {name}("), defined)
    return defined[name]


@pytest.fixture
def newer(clusters: Clusters, major: int) -> Node:
    """A server with the programs that copy a schema."""
    return clusters.of(major if major >= 16 else {14: 17}.get(major, 18)).primary


def test_views_and_large_objects_are_moved_as_the_page_says(cluster: Cluster, newer: Node) -> None:
    old, new = (make_database(one) for one in (cluster.primary, newer))
    old.run(
        "CREATE TABLE t (id int PRIMARY KEY)",
        "INSERT INTO t VALUES (1), (2)",
        "CREATE MATERIALIZED VIEW z AS SELECT count(*) AS rows FROM t",
        # By name it would be refreshed before the one that it reads.
        "CREATE MATERIALIZED VIEW a AS SELECT rows FROM z",
        "CREATE MATERIALIZED VIEW unfilled AS SELECT id FROM t WITH NO DATA",
        "SELECT lo_from_bytea(0, 'one')",
    )
    try:
        with Primary.connect(old.conninfo) as source, Primary.connect(new.conninfo) as target:
            upgrade = Upgrade(source, target, name="shop")
            critical = [one.check for one in upgrade.check().findings if one.severity == "critical"]
            assert critical == ["large objects"]
            plan = upgrade.plan_prepare(bindir=new.node.installation.bindir)
            with pytest.raises(PlanRefused, match="large objects"):
                plan.run()
            plan.run(force=True)
            statements = [str(one) for (one,) in old.all(block("sql", "REFRESH"))]
            assert statements == [f"REFRESH MATERIALIZED VIEW {name}" for name in ("z", "a")]
            views = upgrade.plan_cutover().check()["materialized views"]
            assert views.severity == "warning"
            assert views.remedy == "; ".join(
                f"REFRESH MATERIALIZED VIEW public.{name}" for name in ("z", "a")
            )
            new.run(*statements)
            assert new.one("SELECT rows FROM a") == 2
            assert upgrade.plan_cutover().check()["materialized views"].severity == "ok"
            copy = function("copy_large_objects")

            def redirect(node: str) -> None:
                copy(source, target)
                copy(source, target)

            upgrade.plan_cutover(redirect).run()
            contents = "SELECT oid, lo_get(oid) FROM pg_largeobject_metadata"
            assert new.all(contents) == old.all(contents)
            upgrade.plan_finish().run()
    finally:
        for one in (old, new):
            one.run(UNLINK)
        remove_databases(new, old)


def test_a_subscription_to_another_publisher_is_moved_without_losing_or_repeating_a_row(
    cluster: Cluster, newer: Node
) -> None:
    feed, old, new = (make_database(one) for one in (cluster.primary, cluster.primary, newer))
    feed.run(
        "CREATE TABLE news (id int PRIMARY KEY)",
        "INSERT INTO news VALUES (1)",
        "CREATE PUBLICATION p FOR TABLE news",
    )
    old.run("CREATE TABLE news (id int PRIMARY KEY)")
    news = "SELECT id FROM news ORDER BY id"
    try:
        with Primary.connect(old.conninfo) as source, Primary.connect(new.conninfo) as target:
            subscription = source.create_subscription("news", feed.conninfo, ["p"])
            subscription.wait_for_sync(timeout=60)
            upgrade = Upgrade(source, target, name="shop")
            upgrade.plan_prepare(bindir=new.node.installation.bindir).run()
            feed.run("INSERT INTO news VALUES (2)")
            wait_until(lambda: old.all(news) == [(1,), (2,)])
            with pytest.raises(PlanRefused, match="other subscriptions: "):
                upgrade.plan_cutover().run()
            subscription.disable()
            feed.run("INSERT INTO news VALUES (3)")
            upgrade.plan_cutover().run()
            assert new.all(news) == [(1,), (2,)]
            function("move_subscription")(source, target, "news", feed.conninfo)
            feed.run("INSERT INTO news VALUES (4)")
            wait_until(lambda: new.all(news) == [(1,), (2,), (3,), (4,)])
            upgrade.plan_finish().run()
            subscription.drop()
            target.subscription("news").drop()
    finally:
        remove_databases(new, old, feed)


@pytest.mark.parametrize("lost", ["new", "old"])
def test_a_server_that_is_lost_leaves_nothing_on_the_other_one(
    clusters: Clusters, cluster: Cluster, newer: Node, lost: str
) -> None:
    stays, other = (cluster.primary, newer) if lost == "new" else (newer, cluster.primary)
    gone = clusters.lab.primary(version=other.major, settings={"wal_level": "logical"})
    left = make_database(stays)
    try:
        nodes = (left.conninfo, gone.conninfo)
        conninfos = nodes if lost == "new" else nodes[::-1]
        old, new = (Primary.connect(conninfo) for conninfo in conninfos)
        with old, new:
            old.connection.execute("CREATE TABLE t (id int PRIMARY KEY)")
            upgrade = Upgrade(old, new, name="shop18")
            upgrade.plan_prepare(bindir=newer.installation.bindir).run()
            if lost == "old":
                upgrade.plan_cutover().run()
            gone.stop("immediate")
            if lost == "new":
                wait_until(lambda: not old.slot("shop18_1").state.active)
                old.slot("shop18_1").drop()
                old.publication("shop18_1").drop()
            else:
                wait_until(lambda: not new.slot("shop18_1_back").state.active)
                new.slot("shop18_1_back").drop()
                new.publication("shop18_1_back").drop()
                new.subscription("shop18_1").drop(publisher_gone=True)
        # The server that stays accepts writes.
        left.run("INSERT INTO t VALUES (1)")
        named = "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
        assert left.all(named) == left.all("SELECT subname FROM pg_subscription") == []
    finally:
        gone.stop("immediate")
        remove_databases(left)
