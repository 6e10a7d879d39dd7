"""Catalogues of backup tools that several tests read."""

from __future__ import annotations

PGBACKREST = """[{"archive":[{"database":{"id":1,"repo-key":1},"id":"15-1",
"max":"000000010000000000000007","min":"000000010000000000000001"}],
"backup":[
{"archive":{"start":"000000010000000000000002","stop":"000000010000000000000003"},
"backrest":{"format":5,"version":"2.45"},"database":{"id":1,"repo-key":1},"error":false,
"info":{"delta":23000000,"repository":{"delta":3000000,"size":3000000},"size":23000000},
"label":"20261127-170943F","lsn":{"start":"0/2000028","stop":"0/3000130"},"prior":null,
"reference":null,"timestamp":{"start":1795799383,"stop":1795799390},"type":"full"},
{"archive":{"start":"000000010000000000000005","stop":"000000010000000000000005"},
"database":{"id":1,"repo-key":1},"error":true,"info":{"size":23000001},
"label":"20261127-170943F_20261127-180000I","prior":"20261127-170943F",
"timestamp":{"start":1795802400,"stop":1795802410},"type":"incr"}],
"cipher":"none","db":[{"id":1,"repo-key":1,"system-id":7577000000000000002,"version":"15"}],
"name":"main","repo":[{"cipher":"none","key":1,"status":{"code":0,"message":"ok"}}],
"status":{"code":0,"lock":{"backup":{"held":false}},"message":"ok"}}]"""
