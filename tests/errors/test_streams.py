"""The errors of streams."""

from __future__ import annotations

from pgreplkit import errors


def test_only_the_first_differences_of_a_backup_are_shown() -> None:
    differences = ("a is missing", "b is missing", "c is missing", "d is missing")
    error = errors.BackupDamaged("verify", differences)
    assert error.differences == differences
    assert str(error) == (
        "could not verify: a is missing; b is missing; c is missing; and 1 more;"
        " take another backup"
    )
    assert "more" not in str(errors.BackupDamaged("verify", differences[:3]))


def test_a_long_value_that_cannot_be_loaded_is_shortened() -> None:
    error = errors.ValueNotLoadable.of("public.t", "at", b"9" * 999 + b"\xff", ValueError("no"))
    assert len(error.value) < 200
    assert str(error).startswith("could not load public.t, column at: '999")


def test_a_position_ahead_of_the_server_names_both() -> None:
    error = errors.AheadOfServer("stream the slot 'a'", "0/9", "0/5")
    assert "its WAL ends at 0/5, before 0/9" in str(error)
