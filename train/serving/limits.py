"""What a connection may cost: bytes of a body, and seconds in which a client neither sends nor takes anything."""

import asyncio
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
        read, complete = 0, False

        async def limited_receive() -> Message:
            nonlocal read, complete
            if complete:  # what comes now is that the client has gone
                return await receive()
            try:
                async with asyncio.timeout(self._idle):
                    message = await receive()
            except TimeoutError:
                raise Refused(f"no more of the body has come for {self._idle:g} s", status=408) from None
            read += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if read > self._most_bytes:
                raise Refused(f"the body is larger than {self._most_bytes:,} bytes", status=413)
            return message

        async def limited_send(message: Message) -> None:
            async with asyncio.timeout(self._idle):  # a client that does not read holds its answer back
                await send(message)

        await self._app(scope, limited_receive, limited_send)


def bearer(scope: Any) -> bytes:
    """Returns the key that a request brings, b"" if none."""
    headers = dict(scope["headers"])
    kind, _, key = headers.get(b"authorization", b"").partition(b" ")
    return key.strip() if kind.lower() == b"bearer" else b""
