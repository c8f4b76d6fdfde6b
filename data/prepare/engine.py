"""Engines that do the tasks of a stage: this process, worker processes on this machine, Slurm, or Ray."""

import logging
import multiprocessing
import os
import shutil
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

from varietas.data.files import write_atomically
from varietas.data.hints import nearest
from varietas.data.processes import tie_to_parent

TRIES = 3  # how often worker processes may be killed before `local` gives up
RANKS = 1000  # of a job array: many sites allow no more
POLL_SECONDS = 1.0
TIME = "12:00:00"  # time limit of a Slurm job if none is given
# Reasons for which a job waits for ever.
IMPOSSIBLE = {
    "PartitionTimeLimit", "PartitionNodeLimit", "BadConstraints", "InvalidAccount", "InvalidQOS", "QOSNotAllowed", "AccountNotAllowed",
}  # fmt: skip
FAILED = "failed-"  # prefix of a file that says why a worker gave up

# Does all tasks of a stage, given its name, its tasks, and a function that does one task.
Engine = Callable[[str, Sequence[str], Callable[[str], None]], None]

# Follows a stage: takes its name and its tasks, and returns a function that is called with each task that is done.
Watch = Callable[[str, Sequence[str]], Callable[[str], None]]


def unwatched(stage: str, tasks: Sequence[str]) -> Callable[[str], None]:
    """A `Watch` that does nothing."""
    return lambda task: None


def local(workers: int, watch: Watch = unwatched) -> Engine:
    """Returns an engine on this machine. With one worker, all tasks are done in this process.

    If a worker is killed, only its current task is lost, and that task is done again. The returned function raises ChildProcessError if
    workers were killed TRIES times.
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
            except (BrokenProcessPool, ConnectionError):  # ConnectionError if the process that forks the workers was killed
                continue
        raise ChildProcessError(
            f"worker processes were killed {TRIES} times, perhaps for lack of memory; finished tasks are kept: run the same"
            f" command again with fewer --workers than {workers}"
        )

    return run


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Yields worker processes that are ended on an error, on Ctrl-C, and when this process ends."""
    pool = ProcessPoolExecutor(workers, _context(), tie_to_parent)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    pool.shutdown()


def _context() -> multiprocessing.context.BaseContext:
    """Returns a context in which workers are forked from a process without threads that has imported what they need."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["varietas.data.prepare.prepare"])
    return context


@dataclass(frozen=True)
class Share:
    """A pipeline step of datatrove, in which the worker of `rank` does every world_size-th task and notes it as done in `folder`."""

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
                write_atomically(self.folder / f"{FAILED}{rank}", str(error).encode())
                raise
            (self.folder / task).touch()


def slurm(workers: int, options: Mapping[str, str], folder: Path, watch: Watch = unwatched) -> Engine:
    """Returns an engine that submits Slurm job arrays and waits until they have ended.

    The returned function raises ValueError if sbatch refuses a job or a task fails, and ChildProcessError if jobs ended without doing
    their tasks.

    Args:
        workers: Maximum number of jobs that run at a time.
        options: Options of sbatch. `partition` is required.
        folder: A folder for scripts and logs that all nodes can see.
        watch: Follows the stages.

    Raises:
        ValueError: If there is no partition.
        ModuleNotFoundError: If datatrove is not installed.
    """
    executor = _datatrove("slurm", "SlurmPipelineExecutor")
    if "partition" not in options:
        near = nearest("partition", options, 0.6)
        hint = f"; did you mean partition= instead of {near}=?" if near else ""
        raise ValueError(f"--engine slurm needs a partition: add --slurm partition=NAME (and time=, account= … if required){hint}")

    def launch(step: Share, logs: Path) -> Iterator[None]:
        job = executor(
            [step],
            tasks=min(len(step.tasks), RANKS),
            workers=workers,
            time=options.get("time", TIME),
            partition=options["partition"],
            qos=options.get("qos"),
            job_name=f"varietas-{logs.name}",
            sbatch_args={"mem-per-cpu": "4G", "open-mode": "append", **options},
            env_command=f"export PATH={Path(sys.executable).parent}:$PATH",
            logging_dir=str(logs),
        )
        said = " ".join(f"{key}={value}" for key, value in {"time": TIME, **options}.items())
        job.launch_merge_stats = lambda: None  # it would be a further job, without any use
        try:
            job.run()
        except subprocess.CalledProcessError:
            raise ValueError(f"sbatch refused the job (its message is above); correct the options --slurm {said}") from None
        try:
            while (waits := _squeue(job.job_id)) is not None:
                if waits & IMPOSSIBLE:
                    raise ValueError(
                        f"Slurm will not start the job ({', '.join(sorted(waits & IMPOSSIBLE))}); change the options --slurm {said}: "
                        "`scontrol show partition` shows what the partition allows, time= sets the time limit"
                    )
                time.sleep(POLL_SECONDS)
                yield
        except BaseException:
            subprocess.run(["scancel", job.job_id], check=False)
            raise

    return _shared(launch, folder, watch)


def _squeue(job: str) -> set[str] | None:
    """Returns the reasons for which tasks of a job wait or "None" if they run; returns None if the job has ended.

    A job counts as running as long as Slurm does not answer, so that Slurm is asked again.
    """
    command = ["squeue", "--noheader", "--jobs", job, "--format", "%r"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        return None if "Invalid job id" in found.stderr else set()
    return set(found.stdout.split()) or None


def ray(workers: int, folder: Path, watch: Watch = unwatched) -> Engine:
    """Returns an engine with `workers` actors on the Ray cluster at RAY_ADDRESS, or on this machine if that is not set.

    The returned function raises ValueError if a task fails, and ChildProcessError if workers ended without doing their tasks.

    Raises:
        ModuleNotFoundError: If datatrove or Ray is not installed.
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


def _shared(launch: Callable[[Share, Path], Iterator[None]], folder: Path, watch: Watch) -> Engine:
    """Returns an engine whose workers share only a folder with this process."""

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
        return ValueError(failed.read_text("utf-8"))
    return ChildProcessError(
        f"{n:,} tasks of stage {stage!r} were not done: jobs were killed, perhaps for lack of memory or time; their logs are in {logs}."
        " Finished tasks are kept: run the same command again"
    )


def _datatrove(module: str, executor: str) -> Any:
    try:
        found = getattr(import_module(f"datatrove.executor.{module}"), executor)
        if module == "ray":
            import_module("ray")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"--engine {module} needs {error.name}; run: pip install 'varietas[{module}]'") from None
    from loguru import logger

    logger.disable("datatrove")  # it would repeat its log files on standard error
    return found
