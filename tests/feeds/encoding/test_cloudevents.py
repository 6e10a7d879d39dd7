"""CloudEvents: changes as events."""

from __future__ import annotations

import json

import pytest
from encodedchanges import (
    INSERT,
    T,
    change,
    messages,
    values,
)

from pgreplkit.feeds import CloudEvents


def test_a_cloud_event_is_structured_or_binary() -> None:
    insert = change(INSERT, T, new=values("1", "x"))
    attributes = {
        "specversion": "1.0",
        "id": "7/0/100/3",
        "source": "/postgresql/7/shop",
        "type": "pgreplkit.insert",
        "subject": "public.t",
        "time": "2039-12-22T00:00:00Z",
        "sequence": "0000000000000100-0000000003",
        "partitionkey": '{"id":1}',
    }
    data = {"row": {"id": 1, "name": "x"}}
    [message] = messages(CloudEvents(), insert)
    assert message.headers == (("content-type", "application/cloudevents+json; charset=UTF-8"),)
    assert json.loads(message.body or b"") == {
        **attributes,
        "datacontenttype": "application/json",
        "data": data,
    }
    [message] = messages(CloudEvents(mode="binary", header_prefix="ce_"), insert)
    headers = {f"ce_{name}": value for name, value in attributes.items()}
    assert dict(message.headers) == {**headers, "content-type": "application/json"}
    assert json.loads(message.body or b"") == data
    [message] = messages(CloudEvents(mode="binary"), insert)
    assert dict(message.headers)["ce-partitionkey"] == "{%22id%22:1}"
    with pytest.raises(ValueError, match="mode must be one of structured, binary"):
        CloudEvents(mode="json")  # type: ignore[arg-type]
