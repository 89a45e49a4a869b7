"""Two processes train as one does with twice the groups: torchrun, which ``accelerate launch`` calls too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from rerank_plugin.config import together
from training.test_loop import SETTINGS, run

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]

#: Sums of gradients in another order differ in the last bit: SGD leaves it there, where Adam's root makes it large.
ALONE = replace(SETTINGS, groups=4, dropout=0.0, optimizer="sgd", learning_rate=0.1, head_rate=0.1)


def trained(out: Path, change: dict[str, Any]) -> dict[str, Any]:
    """What came of it, in a file per process beside the weights."""
    processes = together()[1]
    if "contrast" in change:  # each batch is told apart by itself: one process takes the same two, one after the other
        settings = replace(ALONE, groups=2, accumulation=2 // processes, **change)
    else:
        settings = replace(ALONE, groups=4 // processes, **change)
    done, mix, told = run(out, settings)
    rank = os.environ.get("RANK", "alone")
    kept = {name: value.clone() for name, value in mix.state_dict().items() if not name.endswith("_extra_state")}
    save_file(kept, out / f"{rank}.safetensors")
    account = {**asdict(done), "told": told}
    (out / f"{rank}.json").write_text(json.dumps(account))
    return account


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"balance": "stochastic", "tuning": "lora"},
        {"balance": "uncertainty", "gradient_checkpointing": "on"},
        {"contrast": 1.0},
    ],
)
def test_two_processes_train_as_one(tmp_path: Path, change: dict[str, Any]) -> None:
    alone = trained(tmp_path, change)
    code = (
        "import json, sys; from pathlib import Path; from training.test_together import trained\n"
        "trained(Path(sys.argv[1]), json.loads(sys.argv[2]))"
    )
    script = tmp_path / "together.py"
    script.write_text(code)
    both = tmp_path / "both"
    both.mkdir()
    launcher = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    arguments = [*launcher, str(script), str(both), json.dumps(change)]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=False, env=environment)
    assert ended.returncode == 0, ended.stderr[-3000:]
    first, second = (json.loads((both / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == {**alone, "conflict": first["conflict"], "told": first["told"]}
    assert (len(first["told"]), second["told"]) == (4, [])
    expected, found, same = (
        load_file(path) for path in (tmp_path / "alone.safetensors", both / "0.safetensors", both / "1.safetensors")
    )
    for name, value in expected.items():
        assert torch.allclose(found[name], value, atol=1e-5), name
        assert torch.equal(found[name], same[name]), name
    assert sorted(each.name for each in both.glob("checkpoint-*"))
