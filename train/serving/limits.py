"""What a connection may cost: bytes of a body, and seconds in which a client neither sends nor takes anything."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from varietas.train.serving.requests import Refused


class Limits:
    """Wraps a web application.

    Args:
        app: The application, which turns `Refused` into an answer.
        most_bytes: The longest body.
        idle: Seconds that a client may do nothing while its body is read, or while it is sent what it asked for.
    """

    def __init__(self, app: ASGIApp, most_bytes: int, idle: float):
        self._app, self._most_bytes, self._idle = app, most_bytes, idle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a connection on to the application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = int(dict(scope["headers"]).get(b"content-length") or 0)
        read, complete = 0, False

        async def limited_receive() -> Message:
            nonlocal read, complete
            if complete:  # what comes now is that the client has gone
                return await receive()
            self._check(announced)
            try:
                async with asyncio.timeout(self._idle):
                    message = await receive()
            except TimeoutError:
                raise Refused(f"no more of the body has come for {self._idle:g} s", status=408) from None
            read += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            self._check(read)
            return message

        async def limited_send(message: Message) -> None:
            async with asyncio.timeout(self._idle):  # a client that does not read holds its answer back
                await send(message)

        await self._app(scope, limited_receive, limited_send)

    def _check(self, size: int) -> None:
        if size > self._most_bytes:
            raise Refused(f"the body is larger than {self._most_bytes:,} bytes", status=413)


class Connection(H11Protocol):
    """uvicorn's connection, which is closed if the whole header of a request does not come within `timeout_keep_alive` seconds."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Called when a client connects."""
        super().connection_made(transport)
        self._wait_for_header()

    def data_received(self, data: bytes) -> None:
        """Called when a client sends something, which ends uvicorn's own waiting."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_at(self._end, self.timeout_keep_alive_handler)

    def on_response_complete(self) -> None:
        """Called when a request is answered."""
        super().on_response_complete()
        if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):  # it may have begun the next one
            self._wait_for_header()

    def _wait_for_header(self) -> None:
        self._end = self.loop.time() + self.timeout_keep_alive
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_at(self._end, self.timeout_keep_alive_handler)
