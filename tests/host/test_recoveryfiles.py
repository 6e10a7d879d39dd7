"""Files that make a data directory a standby, as text."""

from __future__ import annotations

from pgreplkit.host.recoveryfiles import address_of, pointed_at, with_settings


def test_new_settings_replace_old_ones_at_the_end_of_the_file() -> None:
    text = "# by hand\nport = 1\n  Primary_Conninfo='x'\nprimary_slot_name = 'y'\nprimary = '1'\n"
    changed = with_settings(text, {"primary_conninfo": "it's", "primary_slot_name": None})
    assert changed == "# by hand\nport = 1\nprimary = '1'\nprimary_conninfo = 'it''s'\n"
    assert with_settings(changed, {"primary_conninfo": "it's"}) == changed


def test_only_a_line_feed_ends_a_line() -> None:
    text = "cluster_name = 'a\x85b\u2028c\x0cd'\r\nrecovery_target'immediate'\n"
    changed = with_settings(text, {"recovery_target": None, "port": "1"})
    assert changed == "cluster_name = 'a\x85b\u2028c\x0cd'\r\nport = '1'\n"
    assert with_settings("", {"port": None}) == ""


def test_a_connection_string_gets_another_address_and_keeps_its_other_parts() -> None:
    conninfo = "host=a hostaddr=10.0.0.1 port=1 user=rep password='a b' sslmode=require"
    there = address_of("postgresql://me@b:2/postgres?sslmode=disable")
    led = pointed_at(f"{conninfo} target_session_attrs=primary sslnegotiation=direct", there)
    expected = "user=rep password='a b' sslmode=require sslnegotiation=direct host=b port=2"
    assert led == expected
