"""Files of the copy from which a new server is made."""

from __future__ import annotations

import pytest

from pgreplkit import LSN
from pgreplkit.errors import ControlFailed
from pgreplkit.host.upgradeclone import last_switch


def test_a_recovery_ended_at_the_last_switch_of_its_history() -> None:
    # The name of a restore point, in the encoding of its database.
    history = b'1\t0/3000000\tat restore point "caf\xe9"\n2\t0/5000060\tbefore LSN\n'
    assert last_switch(history, timeline=3) == LSN("0/5000060")


@pytest.mark.parametrize("history", [None, b"", b"# nothing\n"])
def test_a_missing_history_is_an_error_with_a_remedy(history: bytes | None) -> None:
    with pytest.raises(ControlFailed, match=r"00000003\.history is missing .*undo\(\) the plan"):
        last_switch(history, timeline=3)
