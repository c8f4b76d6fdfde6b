"""What the processes of a run tell each other, in short words that jax's coordination service carries. No device works for it.

Every process executes the same program. What one of them alone knows (a signal has come, a file cannot be read, which checkpoints there
are) becomes known to all in an `exchange`, so that they decide alike. A process that exchanges waits for the others. Therefore none begins
a collective of the devices long before the others: gloo, which connects CPUs, waits only 30 s for a process when it connects.
"""

import itertools
import json
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

T = TypeVar("T")

PATIENCE = 3600.0  # seconds that processes wait for one that lives but does not come, for example because its file system hangs

OTHERS = "waits for the other processes"

_rounds = itertools.count()  # of `exchange`, the same in all processes
_last = [time.monotonic()]  # when the last exchange ended
_doing: list["Doing | None"] = [None]
_step = [0]
stepping = threading.Event()  # is set when a process that might take as long as it liked begins with steps


@dataclass(frozen=True, eq=False)
class Doing:
    """What a process does in a training, for the watchdog. Each is an event of its own, even if two say the same."""

    step: int
    what: str


class Service(Protocol):
    """What we use of the client of jax's coordination service. Times are in milliseconds."""

    def key_value_set(self, key: str, value: str, allow_overwrite: bool = False) -> None: ...

    def key_value_try_get(self, key: str) -> str: ...

    def key_value_dir_get(self, key: str) -> list[tuple[str, str]]: ...

    def blocking_key_value_get(self, key: str, timeout_in_ms: int) -> str: ...

    def wait_at_barrier(self, barrier_id: str, timeout_in_ms: int) -> None: ...


class ProcessLost(RuntimeError):
    """Another process has died or does not come."""


def is_first() -> bool:
    """Whether this is process 0, which alone prints and writes to the run's folder. Every process is the first if it is the only one."""
    return jax.process_index() == 0


def exchange(word: str = "") -> dict[int, str]:
    """Waits until all processes have called it, and tells them what any has to say. Signals are handled meanwhile.

    Args:
        word: What this process has to say; "" for nothing.

    Returns:
        The words by process, the same in all processes. It is empty if none has anything to say.

    Raises:
        ProcessLost: If another process has died, or does not come within PATIENCE.
    """
    if jax.process_count() == 1:
        return {0: word} if word else {}
    folder, client = f"varietas/{next(_rounds)}/", service()
    before = doing()
    if before:
        do(OTHERS)
    if word:
        client.key_value_set(f"{folder}{jax.process_index()}", word)
    try:
        beside(lambda: client.wait_at_barrier("varietas", round(PATIENCE * 1000)))
        words = client.key_value_dir_get(folder)
    except jax.errors.JaxRuntimeError as error:
        raise ProcessLost(_why(str(error))) from None
    _doing[0], _last[0] = before, time.monotonic()
    return {int(key.rpartition("/")[2]): value for key, value in sorted(words)}


def broadcast(value: Callable[[], T]) -> T:
    """Returns in all processes what `value` returns in process 0, which alone calls it. JSON must be able to hold it."""
    return json.loads(exchange(json.dumps(value()) if is_first() else "")[0])


def connect(mesh: Mesh) -> None:
    """Connects the CPUs of a mesh, so that their first collectives, which compile at different speeds, need not do it.

    gloo connects a group of devices at its first collective, and there waits only 30 s for a process.
    """
    if jax.process_count() == 1 or mesh.devices.flat[0].platform != "cpu":
        return
    axes = [axis for axis in mesh.axis_names if mesh.shape[axis] > 1]
    groups = [group for n in range(1, len(axes) + 1) for group in itertools.combinations(axes, n)]
    programs = []
    for group in groups:
        add = jax.shard_map(partial(jax.lax.psum, axis_name=group), mesh=mesh, in_specs=PartitionSpec(), out_specs=PartitionSpec())
        programs.append(jax.jit(add).lower(jax.ShapeDtypeStruct((), jnp.int32)).compile())
    exchange()
    for program in programs:
        jax.block_until_ready(program(np.int32(1)))


def do(what: str, step: int | None = None) -> None:
    """Notes what this process does now. The watchdog ends a training whose processes do nothing new for too long.

    Args:
        what: What comes now, as in "waits for a batch".
        step: The number of steps done; that of the last call if not given.
    """
    _step[0] = _step[0] if step is None else step
    rested, _doing[0] = _doing[0] is None, Doing(_step[0], what)
    if rested:
        stepping.set()


def rest() -> None:
    """Notes that what comes now may take as long as it likes, for example because it compiles."""
    _doing[0] = None


def doing() -> Doing | None:
    """Returns what this process does now; None if it may take as long as it likes."""
    return _doing[0]


def silence() -> float:
    """Returns the seconds since the last exchange."""
    return time.monotonic() - _last[0]


def service() -> Service:
    """Returns the client of jax's coordination service. It is not public, but Orbax depends on it too."""
    from jax._src import distributed

    client: Any = distributed.global_state.client
    return client


def beside(work: Callable[[], T], patience: float | None = None) -> T:
    """Does work in a thread, since Python handles no signal while its main thread waits in jax.

    Args:
        work: What to do.
        patience: Seconds after which to give up, with TimeoutError. The thread goes on.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except Exception as error:
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return done.result(patience)


def _why(error: str) -> str:
    """Makes one line of what the coordination service says."""
    if dead := re.search(r"Task (\d+) heartbeat timeout", error):
        return f"process {dead[1]} has died"
    if late := re.search(r"Some timed out task names:\s*([\d\s]+)", error):
        return f"process {', '.join(late[1].split())} has not come for {PATIENCE / 60:.0f} minutes"
    if "Socket closed" in error or "UNAVAILABLE" in error:
        return "process 0 has died, or the network does not reach it"
    return f"the processes have lost each other ({' '.join(error.split())[:200]})"
