"""One run at a time goes on with a state, and a killed one holds nobody up."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from indexer.saved import alone
from rerank_plugin.errors import DataError

HOLD = """
import sys, time
from pathlib import Path
from indexer.saved import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_another_process_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    state = tmp_path / "i.load.json"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(state)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(DataError, match=r"another run goes on with .*i\.load\.json; wait for its end"),
            alone(state),
        ):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert (tmp_path / "i.load.json.lock").exists()  # nobody could take it away
    with alone(state):
        pass
    assert list(tmp_path.iterdir()) == []


def test_it_is_let_go_however_the_run_ends(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with pytest.raises(ZeroDivisionError), alone(state):
        _ = 1 / 0
    with alone(state), pytest.raises(DataError, match="another run"), alone(state):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    wanted = r"cannot write .*state\.lock \(No such file or directory\)"
    with pytest.raises(DataError, match=wanted), alone(tmp_path / "none" / "state"):
        pass
