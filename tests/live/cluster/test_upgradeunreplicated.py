"""Objects that an upgrade does not replicate are moved as its how-to page says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from clusters import Clusters
from databases import make_database, remove_databases

from pgreplkit import Primary
from pgreplkit.errors import PlanRefused
from pgreplkit.upgrade import Upgrade

pytestmark = pytest.mark.one_colour

PAGE = Path(__file__).parents[3] / "docs/how-to/upgrade-to-a-new-major-version.md"
UNLINK = "SELECT lo_unlink(oid) FROM pg_largeobject_metadata"


def block(language: str, content: str) -> str:
    """Return the block of the page that has a text."""
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    [found] = [one for one in blocks if content in one]
    return str(found)


def copier() -> Callable[[Primary, Primary], None]:
    """Return the page's function that copies large objects."""
    defined: dict[str, Callable[[Primary, Primary], None]] = {}
    exec(block("python", "copy_large_objects"), defined)
    return defined["copy_large_objects"]


def test_views_and_large_objects_are_moved_as_the_page_says(clusters: Clusters, major: int) -> None:
    newer = major if major >= 16 else {14: 17}.get(major, 18)
    old, new = (make_database(clusters.of(one).primary) for one in (major, newer))
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
            copy = copier()

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
