"""Starts a sharded training many times beside two busy processes, and counts starts that fail or end with other bits.

XLA's CPU devices deadlock if steps are dispatched far ahead; our loop dispatches at most one step ahead. Each start trains `tiny` for 20
steps on eight virtual CPU devices:

    python tests/bench/hundred_starts.py 100
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COLLECTIVES_GIVE_UP = "--xla_cpu_collective_call_terminate_timeout_seconds=30"  # so that a deadlock shows as an abort
BUSY = "while True: sum(i * i for i in range(10_000))"
LIMIT = 300  # maximum seconds for a start


def main(starts: int) -> int:
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(2)]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": COLLECTIVES_GIVE_UP}
    digests, lost = set(), 0
    begun = time.monotonic()
    try:
        with tempfile.TemporaryDirectory() as folder:
            for n in range(starts):
                command = [sys.executable, "-m", "varietas.launch", "train", "--config", "tiny", "--cpu_devices", "8"]
                command += ["--config.train.steps=20", "--config.checkpoint.every=0", "--run", str(Path(folder) / str(n))]
                try:
                    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT)
                    failed = done.returncode != 0
                    digests.add(done.stdout.split()[-1] if not failed else done.stderr[-500:])
                except subprocess.TimeoutExpired:
                    failed = True
                lost += failed
                print(f"start {n + 1}: {lost} failed, {len(digests)} different results, {time.monotonic() - begun:.0f} s", flush=True)
    finally:
        for process in busy:
            process.kill()
    return lost + max(0, len(digests) - 1)


if __name__ == "__main__":
    sys.exit(min(1, main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)))
