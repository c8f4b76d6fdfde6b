"""jax's coordination service, through which processes exchange words, in a process of its own beside process 0.

In the moment in which a process of jax loses the service, it aborts with a long trace. jax runs the service in process 0. Ours outlives
process 0: the others hear through the service that process 0 has died, and end with one line. It ends when none of them is left.

`begin` and `listen` are called by process 0. Run as a program, this file is the process of the service. It imports nothing of ours: it has
to start fast.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection

HEARTBEAT = 100  # seconds after which the service gives up a process that is not heard of, if we have not done so before
LINGER = 15.0  # seconds that the service waits for processes that do not end, because they are stopped
AT_ONCE = 200  # connections in a message; Linux allows 253

_service: list[socket.socket] = []  # where the service is: it sees this process end when this closes


def begin(port: int, count: int) -> None:
    """Starts the process of the service, which does not listen yet. Called in process 0.

    Args:
        port: Where it is to listen.
        count: How many processes there are.
    """
    ours, its = socket.socketpair()
    command = [sys.executable, "-P", __file__, str(port), str(count)]
    with its:
        subprocess.Popen(command, stdin=its.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    _service.append(ours)


def listen(peers: Collection[socket.socket]) -> None:
    """Makes the service listen. Called in process 0, when the port is free.

    Args:
        peers: Connections to all other processes. The service breaks them when process 0 has died.

    Raises:
        ValueError: If it cannot listen.
    """
    service, left = _service[-1], [peer.fileno() for peer in peers]
    why = ""
    try:
        while left:
            socket.send_fds(service, [b" "], left[:AT_ONCE])
            left = left[AT_ONCE:]
        why = service.recv(1000).decode()
    except OSError as error:
        why = str(error)
    if why != "listens":
        raise ValueError(f"the coordination service cannot start ({why or 'its process has ended'}); name another port with --coordinator")


def main(port: int, count: int) -> None:
    """The process of the service: lives as long as any of the processes that it connects."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they are meant for those that compute
    from jaxlib import _jax

    first, peers = socket.socket(fileno=0), list[socket.socket]()
    while len(peers) < count - 1:
        found, descriptors, _, _ = socket.recv_fds(first, 1, AT_ONCE)
        if not found:
            return  # the processes have not met
        peers += [socket.socket(fileno=descriptor) for descriptor in descriptors]
    try:
        service = _jax.get_distributed_runtime_service(f"[::]:{port}", count, heartbeat_timeout=HEARTBEAT)
    except Exception as error:
        first.sendall(str(error)[:1000].encode())
        return
    first.sendall(b"listens")
    first.recv(1)  # until process 0 ends
    for peer in peers:
        with contextlib.suppress(OSError):  # it has ended
            peer.shutdown(socket.SHUT_WR)
    end = time.monotonic() + LINGER
    for peer in peers:
        with contextlib.suppress(OSError):  # or it takes too long
            peer.settimeout(max(0.1, end - time.monotonic()))
            peer.recv(1)  # until it ends
    del service
    os._exit(0)  # the end of jax's service would wait for those that are left


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
