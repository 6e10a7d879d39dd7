"""HTML and SVG of rows and reports for notebooks, without dependencies and without scripts.

Everything that comes from a server is escaped. Colours are readable on light and dark backgrounds.
"""

from __future__ import annotations

from functools import singledispatch

from pgreplkit.display.bars import retention_panel
from pgreplkit.display.charts import sample_panel, samples_panel
from pgreplkit.display.compare import diffs_panel, progress_panel
from pgreplkit.display.findings import drift_panel, findings_table, readiness_panel
from pgreplkit.display.markup import Markup, panel, text
from pgreplkit.display.steps import plan_panel, result_panel
from pgreplkit.display.table import record_panel, rows_table
from pgreplkit.display.tree import node_box, topology_panel
from pgreplkit.plans.cluster.journal import Journal, PlanResult
from pgreplkit.plans.cluster.topology import ClusterNode, Topology
from pgreplkit.plans.cluster.watch import WatchSample, WatchSamples
from pgreplkit.plans.logical.compare import CompareProgress, RowDiff
from pgreplkit.plans.logical.drift import SchemaDrift
from pgreplkit.plans.server.readiness import Readiness
from pgreplkit.plans.server.retention import WalRetention
from pgreplkit.values.finding import Finding
from pgreplkit.values.record import Record
from pgreplkit.values.rows import Rows


@singledispatch
def shown(value: object) -> Markup:
    """Return the display of a value."""
    return record_panel(value) if isinstance(value, Record) else text(value)


shown.register(CompareProgress, progress_panel)
shown.register(Journal, plan_panel)
shown.register(Readiness, readiness_panel)
shown.register(PlanResult, result_panel)
shown.register(SchemaDrift, drift_panel)
shown.register(Topology, topology_panel)
shown.register(WalRetention, retention_panel)
shown.register(WatchSample, sample_panel)
shown.register(WatchSamples, samples_panel)


@shown.register
def _(value: ClusterNode) -> Markup:
    return panel(node_box(value))


@shown.register
def _(value: Finding) -> Markup:
    return panel(value.check, findings_table([value]))


@shown.register
def _(value: RowDiff) -> Markup:
    return diffs_panel([value])


@shown.register(Rows)
def _(value: Rows[object]) -> Markup:
    items = [*value]
    if items and all(isinstance(item, RowDiff) for item in items):
        return diffs_panel([item for item in items if isinstance(item, RowDiff)])
    if items and all(isinstance(item, Finding) for item in items):
        return panel("findings", findings_table([i for i in items if isinstance(i, Finding)]))
    return rows_table(value)


def html(value: object) -> str:
    """Return the HTML of a row, a report or a list of rows."""
    return str(shown(value))
