"""All processes of a run meet before jax starts, so that whatever keeps them apart is told in one line: jax itself would only abort.

Process 0 listens at the coordinator's address. The others connect and say who they are. When all are there, process 0 lets them go, and
jax's coordination service begins at the same address.
"""

import contextlib
import errno
import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from varietas.launch.distributed import service
from varietas.launch.distributed.ending import watch, watch_for_death
from varietas.launch.distributed.environment import Process, devices
from varietas.launch.doctor.hardware import accelerators

PATIENCE = 600.0  # seconds that processes wait for each other: on a large machine, some nodes start minutes after the others
TELL_AFTER = 30.0  # seconds after which a process says for whom it waits
REPLY = 5.0  # seconds in which a process says who it is after it has connected
LONGEST = 4096  # bytes of a message

Peers = dict[socket.socket, str]  # connections, and the name of the process at the other end

log = logging.getLogger("varietas")
_joined: list[Process] = []


def join(process: Process) -> None:
    """Makes jax one of several processes. Call it before jax starts; it does nothing if jax has been made that already.

    Raises:
        ValueError: If the processes do not find each other, or the GPUs of this node do not divide over its processes.
    """
    import jax

    if jax.distributed.is_initialized():
        return
    if process.index == 0:
        service.begin(int(process.coordinator.rpartition(":")[2]), process.count)
    here = accelerators()
    own = devices(process, os.environ, here.count if here and here.platform != "tpu" else 0)
    peers = meet(process)
    if process.index == 0:
        service.listen(peers)
    watch_for_death(peers)  # jax would wait for minutes for a process that ends now
    jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM, which ends a process or stops its training
    with interrupts_later():  # until the others can be told
        jax.distributed.initialize(
            process.coordinator,
            process.count,
            process.index,
            local_device_ids=own,
            coordinator_bind_address="127.0.0.1:0",  # of the service that jax starts in process 0: nobody uses it
            heartbeat_timeout_seconds=service.HEARTBEAT,
        )
        watch(process)
        _joined.append(process)


@contextmanager
def interrupts_later() -> Iterator[None]:
    """Holds Ctrl-C back until the block ends."""
    if threading.current_thread() is not threading.main_thread():  # where Python handles no signals
        yield
        return
    came = list[int]()
    usual = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if came:
        raise KeyboardInterrupt


def joined() -> Process | None:
    """Returns which of several processes this is, once it has joined them; None if it has not."""
    return _joined[0] if _joined else None


def is_first() -> bool:
    """Whether this is process 0 or the only one. Does not import jax."""
    return not _joined or _joined[0].index == 0


def meet(process: Process, patience: float = PATIENCE) -> Peers:
    """Returns when all processes have called it.

    Args:
        process: Which of them this is.
        patience: Seconds to wait for the others.

    Returns:
        Open connections: of process 0 to all others, and of the others to process 0.

    Raises:
        ValueError: If that takes too long, or the processes do not belong together.
    """
    host, _, port = process.coordinator.rpartition(":")
    if process.index == 0:
        return _receive_all(process, int(port), patience)
    return _introduce(process, (host.strip("[]"), int(port)), patience)


def _hello(process: Process) -> dict[str, Any]:
    import jax

    import varietas

    versions = f"varietas {varietas.__version__} and jax {jax.__version__}"
    return {"index": process.index, "count": process.count, "name": str(process), "versions": versions}


def _receive_all(process: Process, port: int, patience: float) -> Peers:
    own, begun, told, complaint = _hello(process), time.monotonic(), False, ""
    guests: dict[int, str] = {}  # names by number
    peers: Peers = {}
    with _listen(process, port, patience) as server, ExitStack() as ended:
        server.settimeout(min(1.0, patience))
        while not complaint and (lacking := [n for n in range(1, process.count) if n not in guests]):
            waited = time.monotonic() - begun
            said = f"{process} has waited {waited:.0f} s at port {port} for {_listed(lacking)}"
            if waited > patience:
                complaint = f"{said}; see what they print"
            elif waited > TELL_AFTER and not told:
                log.warning("%s, of %.0f s at most", said, patience)
                told = True
            if accepted := _accept(server):
                hello, connection = accepted
                ended.callback(connection.close)
                complaint = complaint or _complaint(own, hello, guests)
                guests[hello["index"]] = hello["name"]
                peers[connection] = hello["name"]
        for connection in peers:
            with contextlib.suppress(OSError):  # it has ended
                connection.sendall(json.dumps({"error": complaint}).encode() + b"\n")
        if complaint:
            raise ValueError(complaint)
        ended.pop_all()
    return peers


def _listen(process: Process, port: int, patience: float) -> socket.socket:
    """Listens at a port, which the service of a run that has just died may still hold."""
    end = time.monotonic() + min(patience, service.LINGER + 5)
    while True:
        try:
            if socket.has_dualstack_ipv6():
                return socket.create_server(("", port), family=socket.AF_INET6, backlog=4096, dualstack_ipv6=True)
            return socket.create_server(("", port), backlog=4096)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > end:
                why = os.strerror(error.errno or 0)
                raise ValueError(f"{process} cannot listen at port {port} ({why}); name another port with --coordinator") from None
        time.sleep(0.2)


def _accept(server: socket.socket) -> tuple[dict[str, Any], socket.socket] | None:
    """Returns what a process says of itself; None if none comes within the server's time, or something else connects."""
    with contextlib.suppress(OSError, ValueError), ExitStack() as ended:
        connection = ended.enter_context(server.accept()[0])
        connection.settimeout(REPLY)
        hello = json.loads(connection.makefile().readline(LONGEST))
        if isinstance(hello, dict) and hello.keys() >= {"index", "count", "name", "versions"}:
            ended.pop_all()
            return hello, connection
    return None


def _complaint(own: dict[str, Any], hello: dict[str, Any], guests: dict[int, str]) -> str:
    """Says why a process does not belong to process 0 and those that have come before; "" if it does."""
    if hello["count"] != own["count"]:
        return f"{own['name']} is one of {own['count']} processes, but {hello['name']} is one of {hello['count']}; give all the same number"
    if hello["index"] in guests or hello["index"] == 0:
        other = own["name"] if hello["index"] == 0 else guests[hello["index"]]
        return f"two processes have the number {hello['index']}: {other} and {hello['name']}; give each its own"
    if hello["versions"] != own["versions"]:
        return f"{own['name']} has {own['versions']}, but {hello['name']} has {hello['versions']}; install the same everywhere"
    return ""


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:8])) + (", …" if len(numbers) > 8 else "")
    return f"{len(numbers)} processes: {shown}" if len(numbers) > 1 else f"process {shown}"


def _introduce(process: Process, address: tuple[str, int], patience: float) -> Peers:
    begun, place, told = time.monotonic(), f"process 0 at {address[0]}:{address[1]}", False
    while True:
        try:
            connection = socket.create_connection(address, timeout=REPLY)
            break
        except OSError as error:
            waited = time.monotonic() - begun
            if waited > patience:
                why = error.strerror or str(error)
                raise ValueError(f"{process} has not reached {place} for {waited:.0f} s ({why}); see what process 0 prints") from None
            if waited > TELL_AFTER and not told:
                log.error("%.0f s without an answer from %s, of %.0f s at most; is it running?", waited, place, patience)
                told = True
            time.sleep(0.2)
    with ExitStack() as ended:
        ended.enter_context(connection)
        connection.sendall(json.dumps(_hello(process)).encode() + b"\n")
        connection.settimeout(max(REPLY, patience + REPLY - (time.monotonic() - begun)))  # process 0 gives up first
        try:
            reply = json.loads(connection.makefile().readline(LONGEST))
        except TimeoutError:
            waited = time.monotonic() - begun
            raise ValueError(f"{place} does not answer {process} within {waited:.0f} s; is it another program?") from None
        except (OSError, ValueError):
            raise ValueError(f"{place} has ended before all processes came, or it is another program; see what it prints") from None
        if reply["error"]:
            raise ValueError(reply["error"])
        ended.pop_all()
    return {connection: place}
