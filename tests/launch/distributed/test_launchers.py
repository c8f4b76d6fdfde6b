"""Two processes that torchrun has started, with the variables that it sets, train as one."""

import subprocess
import sys
from pathlib import Path

import pytest
import several

pytestmark = pytest.mark.heavy("several processes")


def test_two_processes_of_torchrun_train_as_one(tmp_path: Path, corpus_folder: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(several.free_port())]
    train = ["train", "--config", "tiny", "--run", "run", "--cpu_devices", "1", "--config.train.steps=2", several.SAME_PROGRAM]
    command = [*torchrun, "--no-python", "--", sys.executable, "-m", "varietas.launch", *train]
    done = subprocess.run(command, cwd=tmp_path, env=several.environment(), capture_output=True, text=True, timeout=several.LONGEST)
    assert done.returncode == 0, done.stderr
    assert "devices: 2 x cpu" in done.stdout and done.stdout.count("SHA-256 of the parameters") == 1
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 2
