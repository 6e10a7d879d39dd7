"""Apply the changes of one server's publications to another server.

Applier reads a slot, and applies each transaction in one transaction. TableRule maps tables and
columns; ApplyRemote and other policies decide conflicts. ``python -m pgreplkit.apply config.toml``
runs an applier as a process.
"""

from pgreplkit._public import TYPE_CHECKING, lazy as _lazy

if TYPE_CHECKING:
    from pgreplkit._async.logical.applier import AsyncApplier as AsyncApplier
    from pgreplkit._sync.logical.applier import Applier as Applier
    from pgreplkit.apply.membership import Membership as Membership
    from pgreplkit.apply.onerror import (
        FailureDecision as FailureDecision,
        OnError as OnError,
        RefusedChange as RefusedChange,
    )
    from pgreplkit.apply.policies import (
        ApplyRemote as ApplyRemote,
        Decision as Decision,
        DeltaColumns as DeltaColumns,
        KeepLocal as KeepLocal,
        LastUpdateWins as LastUpdateWins,
        Merge as Merge,
        MergeWith as MergeWith,
        NodePriority as NodePriority,
        Policy as Policy,
    )
    from pgreplkit.apply.rules import (
        ChangeRow as ChangeRow,
        TableRule as TableRule,
        Where as Where,
    )
    from pgreplkit.apply.versions import Version as Version
    from pgreplkit.plans.logical.applying import (
        ApplierStatus as ApplierStatus,
        ApplyConflict as ApplyConflict,
        ApplyReport as ApplyReport,
        ConflictKind as ConflictKind,
        ParkedStatement as ParkedStatement,
        ParkedTransaction as ParkedTransaction,
        SetupStatements as SetupStatements,
    )

# Hidden from type checkers, which would take any name for a public one.
if not TYPE_CHECKING:
    __getattr__, __dir__ = _lazy(__name__)
    __all__ = __dir__()
