"""Between the engine's thread and the event loop of the web server: requests go in, pieces of their texts come out."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from varietas.train.serving.engine import Closed, Engine, Full
from varietas.train.serving.prompts import Served
from varietas.train.serving.requests import Refused
from varietas.train.serving.step import Programs
from varietas.train.serving.texts import Asked, Piece, Text
from varietas.train.serving.writer import Writer

T = TypeVar("T")
Queue = asyncio.Queue[tuple[Text, Piece] | None]


def stopping() -> Refused:
    """Returns what is said to who comes too late."""
    return Refused("the server is stopping; try again in a minute", status=503, code="stopping", retry_after=60)


class Gone(Exception):
    """The client has gone."""


class Service:
    """Answers requests with an engine.

    Args:
        served: The model.
        programs: Its compiled program.
        n_pages: Pages of the cache.
        batch_size: How many texts are continued at once.
        max_queue: How many may wait.
    """

    def __init__(self, served: Served, programs: Programs, n_pages: int, batch_size: int, max_queue: int):
        self.served, self.draining = served, False
        self.engine = Engine(programs, n_pages, batch_size, served.context, max_queue, self._deliver)
        self._queues: dict[Text, Queue] = {}
        self._encoder = ThreadPoolExecutor(1, "tokenizer")  # one thread, since a HubTokenizer has a state while it encodes
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    @property
    def active(self) -> int:
        """How many texts are waited for."""
        return len(self._queues)

    @property
    def alive(self) -> bool:
        """Whether the engine works."""
        return self._thread.is_alive()

    def start(self) -> asyncio.Future[None]:
        """Starts the engine. Returns what is done when it ends. Call it in the event loop."""
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._thread.start()
        return self._ended

    async def close(self) -> None:
        """Ends the engine. What is not finished fails."""
        self.engine.close()
        await self._ended

    def _run(self) -> None:
        self.engine.run()
        self._loop.call_soon_threadsafe(self._ended.set_result, None)

    def _deliver(self, pieces: list[tuple[Text, Piece]]) -> None:
        self._loop.call_soon_threadsafe(self._hand_over, pieces)

    def _hand_over(self, pieces: list[tuple[Text, Piece]]) -> None:
        for text, piece in pieces:
            if (queue := self._queues.get(text)) is not None:
                queue.put_nowait((text, piece))
            if piece.finish:
                self._queues.pop(text, None)

    async def encode(self, encode: Callable[[], T]) -> T:
        """Returns what `encode` returns, which uses the tokenizer and may take long."""
        return await self._loop.run_in_executor(self._encoder, encode)

    def begin(self, asked: Sequence[Asked]) -> tuple[list[Text], Queue]:
        """Puts texts into the queue. `pieces` has to be called for them.

        Raises:
            Refused: If there is no room, or the server is stopping.
        """
        engine, processor = self.engine, self.served.processor
        if self.draining or not self.alive:
            raise stopping()
        if len(asked) > engine.max_queue:
            raise Refused(f"{len(asked):,} texts are more than the queue has room for, {engine.max_queue:,}; send fewer at once")
        texts = [Text(one, Writer(processor, one.prompt, one.stops)) for one in asked]
        try:
            engine.submit(texts)
        except Closed:
            raise self._failed() from None
        except Full:
            message = f"{engine.waiting:,} texts are waiting, and the queue has room for {engine.max_queue:,}; try again later"
            raise Refused(message, status=429, code="queue_full", retry_after=1) from None
        queue = Queue()
        self._queues.update(dict.fromkeys(texts, queue))
        return texts, queue

    async def pieces(self, texts: Sequence[Text], queue: Queue) -> AsyncGenerator[tuple[int, Piece]]:
        """Yields the number of a text and what is new of it, until all have ended. If this is closed before, the texts are cancelled.

        Raises:
            Refused: If the engine has ended.
            Gone: If there is None in the queue, which says that the client has gone.
        """
        numbers, left = {text: number for number, text in enumerate(texts)}, len(texts)
        try:
            while left:
                if (news := await queue.get()) is None:
                    raise Gone
                text, piece = news
                if piece.finish == "failed":
                    raise self._failed()
                left -= bool(piece.finish)
                yield numbers[text], piece
        finally:
            for text in texts:
                self._queues.pop(text, None)
            if left:
                self.engine.cancel(texts)

    def _failed(self) -> Refused:
        if self.engine.failure is None:
            return stopping()
        return Refused("the model could not be computed; the log of the server says why", status=500, code="engine_failed")
