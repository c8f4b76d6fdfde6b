"""Who does the tasks of a stage: this process, processes of this machine, Slurm or Ray."""

import difflib
import json
import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

from varietas.data.files import write_json

TRIES = 3  # how often worker processes may die before we give up
RANKS = 1000  # of a job array: more is more than many sites allow
POLL_SECONDS = 1.0
FAILED = "failed-"  # begins the name of a file that says why a worker gave up

Run = Callable[[str, Sequence[str], Callable[[str], None]], None]  # name of a stage, its tasks, what does one: does them all

Watch = Callable[[str, Sequence[str]], Callable[[str], None]]  # told a stage and its tasks, gives what is told each task that is done


def unwatched(stage: str, tasks: Sequence[str]) -> Callable[[str], None]:
    return lambda task: None


def local(workers: int, watch: Watch = unwatched) -> Run:
    """A `prepare.Run` on this machine. With one worker all is done in this process.

    A worker that is killed takes nothing with it but its task, which is done again; it raises ChildProcessError after TRIES times.
    """

    def run(stage: str, tasks: Sequence[str], do: Callable[[str], None]) -> None:
        done = watch(stage, tasks)
        if workers == 1 or len(tasks) <= 1:
            for task in tasks:
                do(task)
                done(task)
            return
        left = list(tasks)
        for _ in range(TRIES):
            try:
                with _pool(min(workers, len(left))) as pool:
                    futures = {pool.submit(do, task): task for task in left}
                    for future in as_completed(futures):
                        future.result()
                        left.remove(futures[future])
                        done(futures[future])
                return
            except (BrokenProcessPool, ConnectionError):  # the latter if what forks the workers was killed
                continue
        raise ChildProcessError(
            f"worker processes were killed {TRIES} times, perhaps for want of memory; what is done is kept: run the same command"
            f" again with fewer --workers than {workers}"
        )

    return run


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Worker processes, which do not outlive an error, Ctrl-C or the end of this process."""
    pool = ProcessPoolExecutor(workers, _context(), _tied_to_parent)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    pool.shutdown()


def _context() -> multiprocessing.context.BaseContext:
    """Workers are forked from a process that has imported what they need and has no threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["varietas.data.prepare"])
    return context


def _tied_to_parent() -> None:
    """Begins a worker. Ctrl-C in a terminal goes to the workers too, but the one that started them ends them; if it is killed they end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_it() -> None:
        parent.join()
        os._exit(1)

    Thread(target=end_with_it, daemon=True).start()


@dataclass(frozen=True)
class Share:
    """A pipeline step of datatrove: the worker of `rank` does every world_size-th task. `folder` tells the others how far it is."""

    do: Callable[[str], None]
    tasks: tuple[str, ...]
    folder: Path

    def __call__(self, data: object = None, rank: int = 0, world_size: int = 1) -> None:
        for task in self.tasks[rank::world_size]:
            if (self.folder / task).exists():
                continue
            try:
                self.do(task)
            except (ValueError, OSError, ImportError) as error:
                write_json(self.folder / f"{FAILED}{rank}", str(error))
                raise
            (self.folder / task).touch()


def slurm(workers: int, options: Mapping[str, str], folder: Path, watch: Watch = unwatched) -> Run:
    """A `prepare.Run` by Slurm job arrays of at most `workers` jobs at a time; returns when they have ended.

    `options` are sbatch's, of which partition is needed; `folder`, which all nodes see, is for scripts and logs.
    Raises ValueError without a partition, ChildProcessError where jobs ended without doing their tasks, ModuleNotFoundError without
    datatrove.
    """
    executor = _datatrove("slurm", "SlurmPipelineExecutor")
    if "partition" not in options:
        near = difflib.get_close_matches("partition", options, n=1)
        hint = f"; did you mean partition= by {near[0]}=?" if near else ""
        raise ValueError(f"--engine slurm needs to know where: add --slurm partition=NAME (time=, account= … as your site asks){hint}")

    def launch(step: Share, logs: Path) -> Iterator[None]:
        job = executor(
            [step],
            tasks=min(len(step.tasks), RANKS),
            workers=workers,
            time=options.get("time", "12:00:00"),
            partition=options["partition"],
            qos=options.get("qos"),
            job_name=f"varietas-{logs.name}",
            sbatch_args={"mem-per-cpu": "4G", "open-mode": "append", **options},
            env_command=f"export PATH={Path(sys.executable).parent}:$PATH",
            logging_dir=str(logs),
        )
        job.launch_merge_stats = lambda: None  # a job of its own, for nothing
        try:
            job.run()
        except subprocess.CalledProcessError:
            said = " ".join(f"{key}={value}" for key, value in options.items())
            raise ValueError(f"sbatch refused the job, as it says above; --slurm was {said}") from None
        try:
            while _squeue(job.job_id):
                time.sleep(POLL_SECONDS)
                yield
        except BaseException:
            subprocess.run(["scancel", job.job_id], check=False)
            raise

    return _shared(launch, folder, watch)


def _squeue(job: str) -> bool:
    """Whether a job waits or runs. Where Slurm does not answer it is asked again."""
    found = subprocess.run(["squeue", "--noheader", "--jobs", job], capture_output=True, text=True, check=False)
    return bool(found.stdout.strip()) or (found.returncode != 0 and "Invalid job id" not in found.stderr)


def ray(workers: int, folder: Path, watch: Watch = unwatched) -> Run:
    """A `prepare.Run` by `workers` actors of the Ray cluster at RAY_ADDRESS, or of this machine where that is not set.

    Raises ChildProcessError and ModuleNotFoundError as `slurm` does.
    """
    executor = _datatrove("ray", "RayPipelineExecutor")

    def launch(step: Share, logs: Path) -> Iterator[None]:
        import ray

        if not ray.is_initialized():
            here: dict[str, Any] = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": workers, "include_dashboard": False}
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **here)
        job = executor([step], tasks=min(len(step.tasks), RANKS), workers=workers, mem_per_cpu_gb=1, logging_dir=str(logs))
        thread = Thread(target=job.run, daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(POLL_SECONDS)
            yield

    return _shared(launch, folder, watch)


def _shared(launch: Callable[[Share, Path], Iterator[None]], folder: Path, watch: Watch) -> Run:
    """A `Run` whose workers share nothing with this process but a folder."""

    def run(stage: str, tasks: Sequence[str], do: Callable[[str], None]) -> None:
        logs = folder / stage
        shutil.rmtree(logs, ignore_errors=True)
        (logs / "done").mkdir(parents=True)
        told, left = watch(stage, tasks), set(tasks)

        def look() -> None:
            for task in sorted(left & set(os.listdir(logs / "done"))):
                left.discard(task)
                told(task)

        if tasks:
            for _ in launch(Share(do, tuple(tasks), logs / "done"), logs):
                look()
            look()
        if left:
            raise _unfinished(stage, len(left), logs)

    return run


def _unfinished(stage: str, n: int, logs: Path) -> Exception:
    for failed in sorted((logs / "done").glob(f"{FAILED}*")):
        return ValueError(json.loads(failed.read_text("utf-8")))
    return ChildProcessError(
        f"{n:,} tasks of stage {stage!r} were not done: jobs were killed, perhaps for want of memory or time; their logs are in {logs}."
        " What is done is kept: run the same command again"
    )


def _datatrove(module: str, executor: str) -> Any:
    try:
        found = getattr(import_module(f"datatrove.executor.{module}"), executor)
        if module == "ray":
            import_module("ray")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"--engine {module} needs {error.name}; run: pip install 'varietas[{module}]'") from None
    from loguru import logger

    logger.disable("datatrove")  # it says on standard error what is in its logs
    return found
