"""Continuous batching: texts join and leave at any step, and share the pages of the key-value cache.

A thread does one thing at a time: a chunk of a prompt, or one token of every text whose prompt is read. Between two tokens, no more of
prompts is read than the largest chunk has, and prompts take turns, so a long one does not stall the others. A text takes the pages of its
prompt when it begins, and one more whenever its last is full. If none is free, the text that began last gives up its pages, waits in front
of the queue, and is read again later. While the devices compute a step, the tokens of the step before become text.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from varietas.train.serving.pages import Pool, pages_for
from varietas.train.serving.step import CHUNKS, Found, Programs, batches, empty_rows, key_of
from varietas.train.serving.texts import Likelihood, Piece, Text, likelihood

Deliver = Callable[[list[tuple[Text, Piece]]], None]


class Full(Exception):
    """The queue has no room."""


class Closed(Exception):
    """The engine has ended."""


class Step(NamedTuple):
    """A step that the devices compute."""

    texts: list[Text]
    n: int  # tokens of each
    found: Found
    of_chosen: bool
    of_targets: bool


class News(NamedTuple):
    """What a step has found for a text."""

    text: Text
    token: int | None
    likelihoods: tuple[Likelihood, ...]
    finish: str


class Engine:
    """Continues texts.

    Args:
        programs: The compiled program and its cache.
        n_pages: Pages of the cache.
        batch_size: How many texts are continued at once.
        context: The longest text, in tokens. The cache has to hold it.
        max_queue: How many texts may wait.
        deliver: Called in the thread of `run` with what is new of texts.
    """

    def __init__(self, programs: Programs, n_pages: int, batch_size: int, context: int, max_queue: int, deliver: Deliver):
        self.context, self.max_queue, self.batch_size = context, max_queue, batch_size
        self.pool = Pool(n_pages)
        self.prompt_tokens = self.new_tokens = self.preempted = 0  # since it began
        self.failure: Exception | None = None
        self._programs, self._deliver, self._batches = programs, deliver, batches(batch_size)
        self._changed = threading.Condition()  # guards what follows
        self._waiting = deque[Text]()
        self._cancelled = set[Text]()
        self._closed = False
        self._running: list[Text] = []  # in the order in which they began; only the thread of `run` touches it
        self._read = 0  # tokens of prompts since the last step of all
        self._turns = 0  # chunks of prompts that have been read

    @property
    def running(self) -> int:
        """How many texts are being continued."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """How many texts wait."""
        return len(self._waiting)

    def submit(self, texts: Sequence[Text]) -> None:
        """Puts texts into the queue, all or none of them. Raises Full if it has no room, and Closed if the engine has ended."""
        with self._changed:
            free = max(0, self.batch_size - len(self._running))
            if self._closed:
                raise Closed
            if len(self._waiting) + len(texts) > self.max_queue + free:
                raise Full
            self._waiting.extend(texts)
            self._changed.notify()

    def cancel(self, texts: Sequence[Text]) -> None:
        """Ends texts of which nobody wants more. Nothing is delivered of them any more."""
        with self._changed:
            self._cancelled.update(texts)
            self._changed.notify()

    def close(self) -> None:
        """Ends `run` after the step that is under way. What is left fails."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def run(self) -> None:
        """Continues texts until `close` is called, or a step fails."""
        news: list[News] = []
        try:
            while self._next_round(wait=not news):
                step = self._start()
                told, news = news, []
                self._tell(told)
                news = self._finish(step) if step else []
        except Exception as error:  # of a device, or a fault of ours: the cache may be lost
            self.failure = error
        with self._changed:
            self._closed = True
            left = [*self._running, *self._waiting]
            self._running, self._waiting = [], deque()
        self._tell(news)
        self._deliver([(text, Piece(finish="failed")) for text in left if not text.ended])

    def _next_round(self, wait: bool) -> bool:
        """Lets texts go and come. Returns False once the engine is closed. `wait`: if there is nothing to do."""
        with self._changed:
            while wait and not (self._waiting or self._running or self._cancelled or self._closed):
                self._changed.wait()
            for text in self._cancelled:
                text.done = text.ended = True
            self._cancelled.clear()
            for text in [text for text in self._running if text.done]:
                self._leave(text)
            self._waiting = deque(text for text in self._waiting if not text.done)
            while self._waiting and len(self._running) < self.batch_size:
                n = pages_for(len(self._waiting[0].tokens))
                spare = len(self._running)  # each may soon need a page more
                if n + spare > self.pool.free:
                    break
                self._begin(self._waiting.popleft(), self.pool.take(n))
            return not self._closed

    def _begin(self, text: Text, pages: list[int]) -> None:
        if text.asked.temperature:
            text.key = key_of(text.asked.seed, text.asked.row)
        text.pages, text.computed, text.turn = pages, 0, self._turns
        self._running.append(text)

    def _leave(self, text: Text) -> None:
        self._running.remove(text)
        self.pool.give_back(text.pages)
        text.pages = []

    def _start(self) -> Step | None:
        """Starts the next step; None if there is nothing to do."""
        ready = [text for text in self._running if text.left == 1]
        prompts = [text for text in self._running if text.left > 1]
        reading = min(prompts, key=lambda text: text.turn, default=None)  # they take turns: a short one does not wait for all of a long one
        n = min(reading.left, CHUNKS[-1]) if reading else 0
        length = next(chunk for chunk in CHUNKS if chunk >= n)
        if reading and (not ready or self._read + length <= CHUNKS[-1]):
            self._read, self._turns, reading.turn = self._read + length, self._turns + 1, self._turns + 1
            return self._step([reading], n, 1, length)
        self._read = 0
        ready = self._with_room(ready)
        return self._step(ready, 1, next(b for b in self._batches if b >= len(ready)), 1) if ready else None

    def _with_room(self, texts: list[Text]) -> list[Text]:
        """Gives each text a page for its next token, and returns those that have one. Those that began last give up theirs if they must."""
        for text in texts:
            while text in self._running and len(text.pages) < pages_for(len(text.tokens)):
                if self.pool.free:
                    text.pages += self.pool.take(1)
                    continue
                last = self._running[-1]
                self._leave(last)
                self.preempted += 1
                with self._changed:
                    self._waiting.appendleft(last)
        return [text for text in texts if text in self._running]

    def _step(self, texts: list[Text], n: int, batch: int, length: int) -> Step:
        """Starts a step that computes `n` tokens of each text, as a program for `batch` rows of `length` tokens."""
        rows = empty_rows(batch, length, self.context)
        for row, text in enumerate(texts):
            begin, end = text.computed, text.computed + n
            rows.tokens_BL[row, :n] = text.tokens[begin:end]
            after = text.tokens[begin + 1 : end + 1]
            rows.targets_BL[row, : len(after)] = after
            rows.positions_BL[row, :n] = np.arange(begin, end)
            rows.table_BM[row, : len(text.pages)] = text.pages
            rows.keys_B2[row] = text.key
            rows.temperature_B[row], rows.top_p_B[row] = text.asked.temperature, text.asked.top_p
        of_chosen = any(text.asked.likelihoods for text in texts)
        of_targets = length > 1 and texts[0].asked.of_prompt
        return Step(texts, n, self._programs.start(rows, of_chosen, of_targets), of_chosen, of_targets)

    def _finish(self, step: Step) -> list[News]:
        """Waits for a step, and adds what it has chosen to its texts."""
        chosen = np.asarray(step.found.chosen_B).tolist()
        of_chosen = jax.device_get(step.found.of_chosen) if step.of_chosen else None
        of_targets = jax.tree.map(lambda x: x[0], jax.device_get(step.found.of_targets)) if step.of_targets else None
        news = []
        for row, (text, token) in enumerate(zip(step.texts, chosen, strict=False)):
            if text.ended:  # by a stop that was found while this step was under way
                continue
            told = text.of_targets(step.n, of_targets)
            self.prompt_tokens += max(0, min(len(text.asked.prompt), text.computed + step.n) - text.computed)
            text.computed += step.n
            if text.left:  # of a prompt that is not read yet
                news.append(News(text, None, told, ""))
                continue
            if not text.asked.max_tokens or token in text.asked.ends:
                text.done = True
                news.append(News(text, None, told, "stop" if text.asked.max_tokens else "length"))
                continue
            if of_chosen and text.asked.likelihoods:
                told += (likelihood(token, row, of_chosen),)
            text.tokens.append(token)
            self.new_tokens += 1
            text.done = text.new == text.asked.max_tokens
            news.append(News(text, token, told, "length" if text.done else ""))
        return news

    def _tell(self, news: list[News]) -> None:
        """Delivers what is new, as text. A text that has ended is not continued, but may be part of the step that is under way."""
        pieces = []
        for text, token, told, finish in news:
            if not text.ended and (piece := text.piece(token, told, finish)):
                pieces.append((text, piece))
        if pieces:
            self._deliver(pieces)
