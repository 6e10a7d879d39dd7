"""Servers that all write the same tables.

Mesh connects them: each applies the changes of all others, and LastUpdateWins decides conflicts so
that all have the same rows in the end.
"""

from pgreplkit._public import TYPE_CHECKING, lazy as _lazy

if TYPE_CHECKING:
    from pgreplkit._async.mesh.mesh import AsyncMesh as AsyncMesh, AsyncMeshNode as AsyncMeshNode
    from pgreplkit._sync.mesh.mesh import Mesh as Mesh, MeshNode as MeshNode
    from pgreplkit.plans.mesh.sequences import SequenceSpread as SequenceSpread
    from pgreplkit.plans.mesh.status import (
        MeshComparison as MeshComparison,
        MeshConflict as MeshConflict,
        MeshDifference as MeshDifference,
        MeshSetup as MeshSetup,
        MeshStream as MeshStream,
        StreamState as StreamState,
    )

# Hidden from type checkers, which would take any name for a public one.
if not TYPE_CHECKING:
    __getattr__, __dir__ = _lazy(__name__)
    __all__ = __dir__()
