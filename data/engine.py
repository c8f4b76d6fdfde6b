"""Who does the tasks of a stage: this process, processes of this machine, Slurm or Ray."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

TRIES = 3  # how often worker processes may die before we give up

Watch = Callable[[str, Sequence[str]], Callable[[str], None]]  # told a stage and its tasks, gives what is told each task that is done


def unwatched(stage: str, tasks: Sequence[str]) -> Callable[[str], None]:
    return lambda task: None


def local(workers: int, watch: Watch = unwatched) -> Callable[[str, Sequence[str], Callable[[str], None]], None]:
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
            except BrokenProcessPool:
                continue
        raise ChildProcessError(
            f"worker processes were killed {TRIES} times, perhaps for want of memory; what is done is kept: run the same command"
            f" again with fewer --workers than {workers}"
        )

    return run


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Worker processes, which do not outlive an error or Ctrl-C."""
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _ignore_interrupts)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    pool.shutdown()


def _ignore_interrupts() -> None:
    """Ctrl-C in a terminal goes to the workers too; the one that started them ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
