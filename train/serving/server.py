"""The server from its first to its last second: it listens, shows what it does, and ends in good order.

After SIGTERM or Ctrl-C it takes nothing new and finishes what it has, for a while: Slurm and Kubernetes kill after half a minute. What is
not finished then ends with an error. A second Ctrl-C stops at once.
"""

import asyncio
import logging
import math
import signal
import socket
import time
from types import FrameType

import uvicorn
from rich.console import Console
from rich.live import Live

from varietas.train.serving.app import IDLE, app_of
from varietas.train.serving.limits import Connection
from varietas.train.serving.service import Service

GRACE = 20.0  # seconds in which running requests are finished
LAST_WORDS = 5  # seconds in which clients may take what has been said to them
LINE_EVERY = 60.0  # seconds between lines if there is no terminal


class Server(uvicorn.Server):
    """uvicorn's server, which takes nothing new after a signal but still answers."""

    def __init__(self, config: uvicorn.Config, service: Service):
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called by the signal handler."""
        if self._service.draining and sig == signal.SIGINT:
            self.should_exit = self.force_exit = True
        self._service.draining = True


def listen(host: str, port: int) -> socket.socket:
    """Returns a socket that has the address, so that a mistake is told before anything is loaded. Another program may still be faster.

    Raises:
        ValueError: If it cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ValueError(f"{host} port {port} cannot be used ({why}); choose others with --host and --port") from None
    return found


def serve(
    service: Service,
    listener: socket.socket,
    key: str | None,
    console: Console,
    greeting: str = "",
    idle: float = IDLE,
    grace: float = GRACE,
) -> None:
    """Answers requests until a signal comes.

    Args:
        service: Answers them.
        listener: From `listen`.
        key: What clients have to send; None if anybody may ask.
        console: Where the state of the server is shown.
        greeting: Shown as soon as it answers.
        idle: Seconds in which a client may neither send nor take anything.
        grace: Seconds in which running requests are finished.

    Raises:
        RuntimeError: If the model could not be computed.
    """
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # of clients that go in the middle of something
    config = uvicorn.Config(
        app_of(service, key, idle), http=Connection, log_config=None, access_log=False, server_header=False, lifespan="off",
        timeout_keep_alive=math.ceil(idle), timeout_graceful_shutdown=LAST_WORDS,
    )  # fmt: skip
    server = Server(config, service)
    asyncio.run(_run(server, service, listener, console, greeting, grace))
    if service.engine.failure is not None:
        raise RuntimeError(f"the model could not be computed: {service.engine.failure}") from service.engine.failure


async def _run(server: Server, service: Service, listener: socket.socket, console: Console, greeting: str, grace: float) -> None:
    ended = service.start()
    answering = asyncio.create_task(server.serve([listener]))
    while not (server.started or answering.done()):
        await asyncio.sleep(0.01)
    if not answering.done():
        console.print(greeting, soft_wrap=True, markup=False)
    showing = asyncio.create_task(_show(service, console))
    while not (service.draining or ended.done() or answering.done()):
        await asyncio.sleep(0.1)
    service.draining, end = True, time.monotonic() + grace
    while service.active and not ended.done() and time.monotonic() < end and not server.force_exit:
        await asyncio.sleep(0.05)
    if not ended.done():
        await service.close()
    server.should_exit = True
    try:
        await answering
    except OSError as error:
        name = listener.getsockname()[1]
        raise ValueError(f"port {name} was taken while the model was loaded ({error.strerror or error}); choose another --port") from None
    finally:
        showing.cancel()


async def _show(service: Service, console: Console) -> None:
    """Shows a line that says what the server does: one that changes on a terminal, else a new one now and then."""
    every = 1.0 if console.is_terminal else LINE_EVERY
    before, began = (0, 0), time.monotonic()
    with Live("", console=console, auto_refresh=False, transient=True) as live:
        while True:
            await asyncio.sleep(every)
            engine, now = service.engine, time.monotonic()
            counts = engine.prompt_tokens, engine.new_tokens
            read, new = ((after - old) / (now - began) for after, old in zip(counts, before, strict=True))
            line = f"{engine.running} running, {engine.waiting} waiting; tokens/s: {read:,.0f} of prompts, {new:,.0f} new"
            if console.is_terminal:
                live.update(line, refresh=True)
            elif counts != before:
                console.print(line)
            before, began = counts, now
