"""The errors of logical replication."""

from __future__ import annotations

from pgreplkit import errors


def test_a_missing_extension_says_how_it_is_installed() -> None:
    error = errors.ExtensionMissing("read the nodes", "pglogical")
    assert str(error).endswith("restart, and CREATE EXTENSION pglogical")


def test_only_the_first_tables_without_a_replica_identity_are_shown() -> None:
    remedies = {f"public.t{n}": f"ALTER TABLE t{n}" for n in range(6)}
    error = errors.ReplicaIdentityMissing("create the publication 'p'", remedies)
    assert error.remedies == remedies
    assert "public.t4, …; nothing" not in str(error)
    assert "in public.t0, public.t1, public.t2, public.t3, public.t4, …" in str(error)
    assert "t5" not in str(error)
    one = errors.ReplicaIdentityMissing("create the publication 'p'", {"public.t": "ALTER"})
    assert "in public.t (SQLSTATE 55000); nothing is changed; first ALTER;" in str(one)
