"""The texts of binary values are those that the server writes."""

from __future__ import annotations

import psycopg
import pytest
from clusters import Cluster

from pgreplkit.apply.binarytexts import binary_text
from pgreplkit.apply.shape import PORTABLE_TYPES
from pgreplkit.catalog.logical.compare import UNIFORM_OUTPUT

pytestmark = pytest.mark.one_colour

VALUES = {
    "bool": ["true", "false"],
    "bytea": [r"\x", r"\x00ff"],
    '"char"': ["a"],
    "name": ["Ada"],
    "text": ["", "a'b\n", "Zürich"],
    "bpchar": ["a  "],
    "varchar": ["null"],
    "int2": ["-32768", "7"],
    "int4": ["0", "-2147483648"],
    "int8": ["9223372036854775807"],
    "oid": ["4294967295"],
    "json": ['{"a":  1}'],
    "jsonb": ['{"a": 1}'],
    "float4": ["1", "0.1", "-1.5e9", "999999", "1e6", "1e-4", "1e-5", "NaN", "Infinity", "-0"],
    "float8": [
        *("0.1", "100", "-123.456", "1e14", "1e15", "1.2345678901234567e+17", "5e-324", "0.0001"),
        *("0.00001234", "-Infinity", "123456.789", "0"),
    ],
    "numeric": [
        *("0", "0.00", "1", "10000", "-12345678.90", "0.0001", "0.00001200", "1e20", "NaN"),
        *("99999999.99999999", "10000000000000000.5", "-0.5", "1000.0001"),
    ],
    "date": ["2024-02-29", "2000-01-01", "1999-12-31", "0044-03-15 BC", "20000-06-07", "infinity"],
    "time": ["00:00", "24:00", "12:34:56.7", "01:02:03.000004"],
    "timestamp": ["2024-02-29 12:34:56.789", "0001-01-01 BC", "1900-03-01", "-infinity"],
    "timestamptz": ["2024-02-29 12:34:56+02", "0044-03-15 00:00:00.5+00 BC", "infinity"],
    "timetz": ["12:00+01", "12:00-03:30", "01:02:03.5+00:00:07"],
    "interval": [
        *("0", "1 year 2 mons 3 days 04:05:06.5", "-1 year +3 days", "-1 day +00:00:01", "1 mon"),
        *("-1 mons", "-00:00:00.000001", "1 year -1 day 100:00:00", "-13 mons"),
    ],
    "bit(3)": ["101"],
    "varbit": ["", "1", "101010101"],
    "uuid": ["12345678-1234-5678-1234-567812345678"],
    "macaddr": ["08:00:2b:01:02:03"],
    "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "inet": [
        "10.0.0.1",
        "10.0.0.1/8",
        "::1",
        "2001:db8::1/64",
        "::ffff:10.0.0.1",
        "::10.0.0.1",
        "::1:2",
    ],
    "cidr": ["10.0.0.0/8", "10.0.0.1/32", "2001:db8::/32"],
    "int4[]": ["{}", "{1,NULL,3}", "{{1,2},{3,4}}", "[2:3]={1,2}"],
    "text[]": ['{a,"",NULL,"null","a b","a\\"b","c\\\\d","{}",é,x\u00a0y,x\x1cy}'],
    "bool[]": ["{t,f}"],
    "timestamptz[]": ['{"2024-02-29 12:34:56+02",infinity}'],
    "numeric[]": ["{1.50,NaN}"],
}


XML = 142
"""A server may be built without it."""
ARRAYS_OF_OTHERS = {
    *(1000, 1001, 1002, 1003, 1016, 1005, 1009, 1028, 199, 143, 1021, 1022, 1040, 775, 1041, 651),
    *(1014, 1015, 1182, 1183, 1115, 1187, 1270, 1561, 1563, 2951, 3807),
}


@pytest.mark.pg(">=10")
def test_a_binary_value_has_the_text_that_the_server_writes(cluster: Cluster) -> None:
    seen = set()
    with psycopg.connect(cluster.primary.conninfo) as connection:
        connection.execute(UNIFORM_OUTPUT)
        for kind, texts in VALUES.items():
            for text in texts:
                query = f"SELECT %s::text::{kind}".encode()
                binary, shown = (
                    connection.cursor(binary=how).execute(query, [text]).pgresult
                    for how in (True, False)
                )
                assert binary is not None
                assert shown is not None
                value, expected = binary.get_value(0, 0), shown.get_value(0, 0)
                assert value is not None
                assert expected is not None
                seen.add(oid := binary.ftype(0))
                # Before 12, the server writes floats with more digits than they need.
                if kind in ("float4", "float8") and cluster.primary.major < 12:
                    assert float(binary_text(oid, value)) == pytest.approx(
                        float(expected), nan_ok=True
                    )
                    continue
                assert (kind, binary_text(oid, value)) == (kind, expected.decode())
    assert PORTABLE_TYPES - seen <= ARRAYS_OF_OTHERS | {XML}
