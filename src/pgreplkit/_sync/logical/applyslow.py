# Generated from pgreplkit/_async/logical/applyslow.py by `nox -s sync`. Do not edit.
"""Applying one transaction change by change: conflicts, the number of a refused change, parking."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from psycopg import Error as PsycopgError, InterfaceError, OperationalError, errors

from pgreplkit._sync.logical.applyconflicts import ConflictLog
from pgreplkit._sync.logical.applymerge import merge_change
from pgreplkit._sync.logical.applytarget import ApplyTarget
from pgreplkit.apply.conflicts import APPLIED, SKIPPED, Conflict, Conflicts, met
from pgreplkit.apply.failures import is_lost
from pgreplkit.apply.filtering import RuleFailed, raised, refusal, replaced_columns
from pgreplkit.apply.planner import Planner
from pgreplkit.apply.policies import Decision, MergeWith, Policy
from pgreplkit.apply.statements import Kind
from pgreplkit.apply.tableplans import MergedPlan, Step
from pgreplkit.apply.versions import Version
from pgreplkit.catalog.logical import applying as sql
from pgreplkit.driver.failures import translate_errors, whole_message, without_values
from pgreplkit.errors import ApplyFailed
from pgreplkit.plans.logical.applying import ConflictKind
from pgreplkit.protocol.pgoutput.rows import Row
from pgreplkit.protocol.rawtransactions import RawChange, RawTransaction

_EXISTS = {ord("I"): ConflictKind.INSERT_EXISTS, ord("U"): ConflictKind.UPDATE_EXISTS}
"""The conflicts of changes that a unique index refuses."""
_INSERT = ord("I")


class StepsOf(Protocol):
    """Returns the steps of a change, after it has looked up what the planner did not know."""

    def __call__(self, change: RawChange[Row], /) -> Iterable[Step]: ...


class SlowPath:
    """Applies a transaction that the pipeline could not apply."""

    def __init__(
        self,
        target: ApplyTarget,
        planner: Planner,
        plan: StepsOf,
        policy: Policy,
        check: Callable[[], None],
        log: ConflictLog,
    ) -> None:
        self._target, self._planner, self._plan, self._policy = target, planner, plan, policy
        self._log = log
        self._check = check
        """Raises an error if a transaction that waits for the clock is no longer to be applied."""
        self.refused: ConflictKind | None = None
        """The conflict for which a transaction was refused."""

    def apply(self, transaction: RawTransaction[Row]) -> Conflicts:
        """Apply a transaction; return its conflicts.

        Raises: ApplyFailed, after which nothing of it is applied.
        """
        target, conflicts = self._target, Conflicts()
        number, table, letter = 0, None, 0
        current: RawChange[Row] | None = None
        # The pipeline leaves this to its last statement; here it needs no open transaction.
        if target.max_clock_skew is not None:
            limit = target.max_clock_skew
            target.wait_for_clock(transaction.commit_time, limit, self._check)
        target.begin(self._planner, transaction)
        try:
            target.execute("BEGIN")
            for change in transaction.changes():
                number, current = number + 1, change
                letter, table = change[0], ", ".join(str(reader.table) for reader in change[1])
                for conflict in self._change(change, transaction):
                    conflicts.add(conflict)
            # A failure from here on is of the whole transaction, such as of a deferred constraint.
            table, letter, current = None, 0, None
            recorded = self._log.within_rate(conflicts)
            self._log.record(target.link, [(each, transaction) for each in recorded])
            target.commit(transaction)
        except PsycopgError as error:
            self._roll_back()
            # No change is the cause: the same may pass in another session.
            if is_lost(error.sqlstate) and isinstance(error, OperationalError | InterfaceError):
                raise
            if isinstance(error, errors.UniqueViolation):
                self.refused = _EXISTS.get(letter)
            raise _failed(transaction, table, number, error, self._replaced(current)) from error
        except RuleFailed as error:
            self._roll_back()
            raise ApplyFailed(
                transaction.xid, str(transaction.end_lsn), table, number, str(error)
            ) from error
        except BaseException:
            self._roll_back()
            raise
        return conflicts

    def _replaced(self, change: RawChange[Row] | None) -> list[str]:
        """Return the columns of a refused row whose values are those of a rule's function."""
        if change is None:
            return []
        kind, readers, _, _, _ = change
        if kind not in _EXISTS:
            return []
        return replaced_columns(self._planner.plan(readers[0]), readers[0])

    def _roll_back(self) -> None:
        if not self._target.connection.closed:
            with translate_errors(self._target.operation, hides_values=True):
                self._target.execute("ROLLBACK")

    def _change(self, change: RawChange[Row], transaction: RawTransaction[Row]) -> list[Conflict]:
        conflicts = []
        if isinstance(self._policy, MergeWith) and change[0] in _EXISTS:
            return self._merged(self._policy, change)
        for step in self._plan(change):
            statement = step[0]
            if statement.is_stamped:
                conflicts += self._stamped(step)
            elif change[0] == _INSERT and statement.kind is Kind.INSERT:
                conflicts += self._insert(step, change, transaction)
            elif not self._target.step(step) and statement.needs_row:
                conflicts.append(met(step, None))
        return conflicts

    def _merged(self, policy: MergeWith, change: RawChange[Row]) -> list[Conflict]:
        # Planning reads the subscriber's table if it is not known yet.
        self._plan(change)
        plan = self._planner.plan(change[1][0])
        if not isinstance(plan, MergedPlan):
            raise TypeError(f"{plan.match.source} is not merged")
        found = merge_change(self._target, policy, plan, change)
        if found is None:
            return []
        return [Conflict(*found)]

    def _stamped(self, step: Step) -> list[Conflict]:
        """Execute a step that compares versions."""
        statement, values, formats = step
        result = self._target.execute(statement.sql, values, formats, statement.types)
        answer = result.get_value(0, 0) if result.ntuples else None
        if answer is not None or not result.command_tuples:
            return [met(step, answer)]
        return []

    def _insert(
        self, step: Step, change: RawChange[Row], transaction: RawTransaction[Row]
    ) -> list[Conflict]:
        """Insert a row; if it exists, ask the policy."""
        target = self._target
        # A unique violation aborts a transaction: what came before must not be lost.
        target.execute("SAVEPOINT pgreplkit")
        try:
            target.step(step)
        except errors.UniqueViolation as error:
            target.execute("ROLLBACK TO pgreplkit")
            resolution = self._resolve(change, transaction, error)
            return [Conflict(ConflictKind.INSERT_EXISTS, step, resolution)]
        target.execute("RELEASE pgreplkit")
        return []

    def _decided(self, remote: Version) -> Decision:
        try:
            decision = self._policy.decide(Version(None, None), remote)
        except Exception as error:
            raise RuleFailed(f"the policy raised {raised(error)}") from None
        if not isinstance(decision, Decision) or decision is Decision.MERGE:
            raise RuleFailed(f"the policy returned {decision!r}, which cannot resolve it")
        return decision

    def _resolve(
        self, change: RawChange[Row], transaction: RawTransaction[Row], error: PsycopgError
    ) -> str:
        remote = Version(transaction.commit_time, transaction.origin)
        if self._decided(remote) is Decision.SKIP:
            return SKIPPED
        _, [reader], _, _, new = change
        plan = self._planner.plan(reader)
        if new is None or not plan.match.key:
            raise error
        for step in plan.update(None, new):
            # No row has the key: another unique index refused the row.
            if not self._target.step(step):
                raise error
        return APPLIED

    def park(self, transaction: RawTransaction[Row], failure: ApplyFailed) -> None:
        """Put a transaction aside, and move past it.

        Raises: ServerError.
        """
        target, cause = self._target, failure.__cause__
        operation = f"park transaction {transaction.xid}"
        with translate_errors(operation, connection=target.connection, hides_values=True):
            target.execute("BEGIN")
            try:
                # In one transaction with the position: it is neither lost nor put aside twice.
                parked = target.link.one(
                    target.operation,
                    sql.ADD_PARKED,
                    [
                        target.name,
                        transaction.xid,
                        transaction.end_lsn,
                        transaction.commit_time,
                        failure.table,
                        failure.change_number,
                        failure.sqlstate,
                        # Only those who ask for parked transactions see values of the row.
                        whole_message(cause) if isinstance(cause, PsycopgError) else failure.found,
                    ],
                )
                self._keep_steps(parked["id"], transaction)
                target.commit(transaction)
            except BaseException:
                self._roll_back()
                raise

    def skip(self, transaction: RawTransaction[Row]) -> None:
        """Move past a transaction without applying it.

        Raises: ServerError.
        """
        target = self._target
        with translate_errors(f"skip transaction {transaction.xid}", connection=target.connection):
            target.execute("BEGIN")
            try:
                # An empty transaction, which only moves the position.
                target.commit(transaction)
            except BaseException:
                self._roll_back()
                raise

    def _keep_steps(self, parked: int, transaction: RawTransaction[Row]) -> None:
        """Write what a transaction that was put aside would have executed."""
        number = 0
        # The statements, not the changes: they can be applied without the stream's tables.
        self._target.begin(self._planner, transaction)
        for change in transaction.changes():
            for statement, values, formats in self._plan(change):
                number += 1
                row = [parked, number, statement.table, statement.sql]
                row += [[*values], [*formats], [*statement.types]]
                self._target.link.all(self._target.operation, sql.ADD_STEP, row)


def _failed(
    transaction: RawTransaction[Row],
    table: str | None,
    number: int,
    error: PsycopgError,
    replaced: Sequence[str],
) -> ApplyFailed:
    # A deferred constraint is checked at the commit, when no change is at fault alone.
    at = None if table is None else number
    end = str(transaction.end_lsn)
    found = refusal(str(without_values(error)), replaced)
    return ApplyFailed(transaction.xid, end, table, at, found, error.sqlstate)
