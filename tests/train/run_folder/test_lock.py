"""One process at a time trains in a folder; the lock of a process that has ended is taken over."""

import json
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from varietas.train.run_folder import lock
from varietas.train.run_folder.lock import check_free, held, release

HOLD = "import sys, time; from pathlib import Path; from varietas.train.run_folder.lock import held\n" + (
    "with held(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
)


@pytest.fixture
def other(tmp_path: Path) -> Any:
    """Another process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def pretend(run: Path, **facts: Any) -> None:
    """Changes what the lock says."""
    file = run / ".lock"
    file.write_text(json.dumps({**json.loads(file.read_text()), **facts}))


def age(run: Path, seconds: float) -> None:
    """Makes the lock look as if it had not been touched for some time."""
    os.utime(run / ".lock", (time.time() - seconds,) * 2)


def test_the_second_is_refused_in_a_line_that_names_the_first(tmp_path: Path, other: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    before = (run / ".lock").read_bytes()
    for attempt in (check_free, lambda run: held(run).__enter__()):
        with pytest.raises(ValueError, match="is being trained by another process") as error:
            attempt(run)
        said = str(error.value)
        assert f"host {lock.socket.gethostname()}, pid {other.pid}, since {datetime.now(UTC):%Y-%m-%dT}" in said
        assert "\n" not in said and "Slurm" not in said and "minutes" not in said
    pretend(run, job="77")
    with pytest.raises(ValueError, match=rf"pid {other.pid}, Slurm job 77, since"):
        check_free(run)
    pretend(run, job="")
    assert (run / ".lock").read_bytes() == before and [p.name for p in run.iterdir()] == [".lock"]


def test_a_process_that_ends_at_once_gives_its_lock_back(tmp_path: Path) -> None:
    """Only its own: another one may have taken over."""
    with held(tmp_path / "run"):
        release()
        check_free(tmp_path / "run")
        assert not (tmp_path / "run" / ".lock").exists()
    with held(tmp_path / "run"):
        pretend(tmp_path / "run", pid=1)
        release()
        assert (tmp_path / "run" / ".lock").exists()
    assert (tmp_path / "run" / ".lock").exists()


def test_the_lock_of_a_killed_process_is_taken_over(
    tmp_path: Path, other: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "SETTLED_AFTER", 0.01)
    other.kill()  # a zombie until it is waited for
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and "Z" not in Path(f"/proc/{other.pid}/stat").read_text().rpartition(")")[2].split()[0]:
        time.sleep(0.01)
    check_free(tmp_path / "run")
    with held(tmp_path / "run"):
        assert json.loads((tmp_path / "run" / ".lock").read_text())["pid"] == os.getpid()
        assert "has ended without removing its lock" in caplog.text and f"pid {other.pid}" in caplog.text and caplog.text.count("\n") == 1
    assert list((tmp_path / "run").iterdir()) == []


def test_a_process_id_that_is_used_again_is_another_process(tmp_path: Path) -> None:
    with held(tmp_path):
        with pytest.raises(ValueError, match="being trained"):
            check_free(tmp_path)
        pretend(tmp_path, born=json.loads((tmp_path / ".lock").read_text())["born"] - 1)
        check_free(tmp_path)


@pytest.mark.parametrize("facts", [{"host": "node-2"}, {"namespace": "pid:[1]"}], ids=["machine", "container"])
def test_elsewhere_the_age_of_the_lock_decides(tmp_path: Path, other: Any, facts: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    monkeypatch.setattr(lock, "SETTLED_AFTER", 0.01)
    pretend(run, pid=2**30, **facts)
    age(run, 240)
    with pytest.raises(ValueError, match=r"if that process no longer exists, start again in 5 minutes, or delete .*\.lock"):
        check_free(run)
    age(run, 360)
    with held(run):
        assert json.loads((run / ".lock").read_text())["pid"] == os.getpid()


def test_a_job_that_slurm_starts_again_takes_over_its_own_lock(tmp_path: Path, other: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    pretend(run, host="node-2", job="77", restarts=0)
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    with pytest.raises(ValueError, match="Slurm job 77"):
        check_free(run)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    check_free(run)
    monkeypatch.setenv("SLURM_JOB_ID", "78")
    with pytest.raises(ValueError, match="Slurm job 77"):
        check_free(run)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 3}'])
def test_a_lock_that_cannot_be_read_counts_by_its_age(tmp_path: Path, content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "SETTLED_AFTER", 0.01)
    (tmp_path / ".lock").write_text(content)
    with pytest.raises(ValueError, match="being trained by another process: unknown"):
        check_free(tmp_path)
    age(tmp_path, 360)
    with held(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_lock_is_touched_while_it_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "TOUCHED_EVERY", 0.01)
    with held(tmp_path):
        age(tmp_path, 3600)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and time.time() - (tmp_path / ".lock").stat().st_mtime > 60:
            time.sleep(0.01)
        assert time.time() - (tmp_path / ".lock").stat().st_mtime < 60


def test_of_two_that_take_over_at_once_one_is_refused(tmp_path: Path, other: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads stand for processes: each writes a lock of its own."""
    run = tmp_path / "run"
    pretend(run, host="node-2")
    age(run, 360)
    own, usual = threading.local(), lock._self
    monkeypatch.setattr(lock, "_self", lambda: {**usual(), "pid": getattr(own, "pid", 0)})
    both, results = threading.Barrier(2), dict[int, str]()

    def start(pid: int) -> None:
        own.pid = pid
        both.wait()
        try:
            with held(run):
                time.sleep(1)
                results[pid] = "held"
        except ValueError as error:
            results[pid] = str(error)

    threads = [threading.Thread(target=start, args=(pid,)) for pid in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result == "held" for result in results.values()) == [False, True], results


def test_a_lock_that_another_took_over_is_left_alone(tmp_path: Path) -> None:
    """This process had stopped for minutes, for example."""
    with held(tmp_path):
        pretend(tmp_path, pid=1)
    assert (tmp_path / ".lock").exists()
