"""The web application: OpenAI's endpoints over a `Service`.

A body has to be called JSON in its header. A browser then asks the server before it sends what another site's page wants it to send, and
gets no permission.
"""

import asyncio
import hmac
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from functools import partial

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from varietas.train.serving.answers import DONE, Choice, Heading, answer, beginning, ending, event, heading, part, usage
from varietas.train.serving.limits import Limits
from varietas.train.serving.prompts import Served, of_chat, of_completion
from varietas.train.serving.requests import ChatRequest, Common, CompletionRequest, Parsed, Refused, parse
from varietas.train.serving.service import Gone, Queue, Service
from varietas.train.serving.texts import Asked, Piece

log = logging.getLogger("varietas")
MOST_BYTES = 16 << 20  # of a body
IDLE = 60.0  # seconds in which a client may neither send nor take anything


def app_of(service: Service, key: str | None = None, idle: float = IDLE) -> FastAPI:
    """Returns the application.

    Args:
        service: Answers the requests.
        key: What clients have to send as a bearer token; None if anybody may ask.
        idle: Seconds in which a client may neither send nor take anything.
    """
    app = FastAPI(openapi_url=None)
    handlers = {Refused: _refuse, HTTPException: _no_such_place, Gone: _nobody, ClientDisconnect: _nobody, Exception: _fault}
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
    app.add_middleware(Limits, most_bytes=MOST_BYTES, idle=idle)
    served = service.served
    model = {"id": served.name, "object": "model", "created": served.created, "owned_by": "varietas", "max_model_len": served.context}

    def check_key(request: Request) -> None:
        if key is not None and not hmac.compare_digest(_bearer(request), key.encode()):
            raise Refused("the key is missing or wrong; send it as `Authorization: Bearer KEY`", status=401, code="invalid_api_key")

    @app.get("/health")
    async def health() -> Response:
        if service.draining or not service.alive:
            return PlainTextResponse("stopping", 503)
        return PlainTextResponse("ok")

    @app.get("/metrics")
    async def metrics() -> Response:
        return PlainTextResponse(_metrics(service), media_type="text/plain; version=0.0.4")

    @app.get("/v1/models")
    async def models(request: Request) -> Response:
        check_key(request)
        return JSONResponse({"object": "list", "data": [model]})

    @app.get("/v1/models/{name:path}")
    async def one_model(request: Request, name: str) -> Response:
        check_key(request)
        _check_model(service, name)
        return JSONResponse(model)

    async def read(request: Request, kind: type[Parsed], texts_of: Callable[[Served, Parsed], list[Asked]]) -> tuple[Parsed, list[Asked]]:
        check_key(request)
        asked = parse(kind, await _body(request))
        _check_model(service, asked.model)
        return asked, await service.encode(partial(texts_of, served, asked))

    @app.post("/v1/completions")
    async def completions(request: Request) -> Response:
        asked, texts = await read(request, CompletionRequest, of_completion)
        head = heading(False, served.name, served.fingerprint, asked.logprobs)
        return await _answered(service, request, asked, head, texts)

    @app.post("/v1/chat/completions")
    async def chat_completions(request: Request) -> Response:
        asked, texts = await read(request, ChatRequest, of_chat)
        head = heading(True, served.name, served.fingerprint, asked.top_logprobs or 0 if asked.logprobs else None)
        return await _answered(service, request, asked, head, texts)

    return app


async def _body(request: Request) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(f"send the body with `Content-Type: application/json`, found {kind[:80]!r}", status=415)
    return await request.body()


def _bearer(request: Request) -> bytes:
    """Returns the key that a request brings, b"" if none."""
    kind, _, key = request.headers.get("authorization", "").encode("latin-1").partition(b" ")
    return key.strip() if kind.lower() == b"bearer" else b""


def _check_model(service: Service, name: str | None) -> None:
    if name not in (None, service.served.name):
        message = f"there is no model {name[:80]!r} here; this server has {service.served.name!r}"
        raise Refused(message, "model", status=404, code="model_not_found")


async def _answered(service: Service, http: Request, request: Common, head: Heading, asked: list[Asked]) -> Response:
    """Returns the answer to a request, as a whole or as a stream."""
    choices = [Choice(head, service.served.processor, number, _echoed(service, request, one)) for number, one in enumerate(asked)]
    n_prompt = sum(len(one.prompt) for one in asked[:: request.choices])
    texts, queue = service.begin(asked)
    pieces = _until_gone(service.pieces(texts, queue), http, queue)
    if request.stream:
        return StreamingResponse(_streamed(pieces, request, head, choices, n_prompt), media_type="text/event-stream")
    found: list[list[Piece]] = [[] for _ in asked]
    async with aclosing(pieces):
        async for number, piece in pieces:
            found[number].append(piece)
    n_new = sum(piece.tokens for of_text in found for piece in of_text)
    whole = [choice.whole(of_text) for choice, of_text in zip(choices, found, strict=True)]
    return JSONResponse(answer(head, whole, usage(n_prompt, n_new)))


async def _streamed(
    pieces: AsyncGenerator[tuple[int, Piece]], request: Common, head: Heading, choices: list[Choice], n_prompt: int
) -> AsyncIterator[bytes]:
    """Yields the events of a stream. If the answer fails in its middle, the last one says so."""
    n_new = 0
    try:
        async with aclosing(pieces):
            for number in range(len(choices) if head.chat else 0):
                yield event(beginning(head, number))
            async for number, piece in pieces:
                n_new += piece.tokens
                yield event(part(head, choices[number].part(piece)))
    except Refused as error:
        yield event(error.body)
        return
    except Gone:
        return
    if request.with_usage:
        yield event(ending(head, usage(n_prompt, n_new)))
    yield DONE


async def _until_gone(pieces: AsyncGenerator[tuple[int, Piece]], http: Request, queue: Queue) -> AsyncGenerator[tuple[int, Piece]]:
    """Yields pieces as long as the client is there."""

    async def watch() -> None:
        while (await http.receive())["type"] != "http.disconnect":
            pass
        queue.put_nowait(None)

    watcher = asyncio.create_task(watch())
    try:
        async with aclosing(pieces):
            async for found in pieces:
                yield found
    finally:
        watcher.cancel()


def _echoed(service: Service, request: Common, asked: Asked) -> str:
    """Returns the text of the prompt, if the answer is to begin with it."""
    return service.served.processor.decode(list(asked.prompt)) if isinstance(request, CompletionRequest) and request.echo else ""


def _metrics(service: Service) -> str:
    """Returns what the server does, as Prometheus reads it."""
    engine = service.engine
    found = [
        ("texts_running", "gauge", "texts that are being continued", engine.running),
        ("texts_waiting", "gauge", "texts in the queue", engine.waiting),
        ("cache_pages", "gauge", "pages of the key-value cache", engine.pool.n_pages),
        ("cache_pages_free", "gauge", "pages of the key-value cache that are free", engine.pool.free),
        ("prompt_tokens_total", "counter", "tokens of prompts that have been computed", engine.prompt_tokens),
        ("new_tokens_total", "counter", "tokens that have been generated", engine.new_tokens),
        ("preempted_total", "counter", "how often a text had to give up its pages", engine.preempted),
    ]
    return "".join(f"# HELP varietas_{name} {help}\n# TYPE varietas_{name} {kind}\nvarietas_{name} {n}\n" for name, kind, help, n in found)


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.status in (408, 413, 503):  # nothing more is read from this client
        headers["Connection"] = "close"
    return JSONResponse(error.body, error.status, headers)


async def _no_such_place(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path[:80]}: {str(error.detail).lower()}; docs/serving.md lists what there is"
    return JSONResponse(Refused(message, status=error.status_code).body, error.status_code, error.headers)


async def _nobody(_: Request, __: Exception) -> Response:
    return Response(status_code=499)  # the client has gone: nobody reads this


async def _fault(_: Request, error: Exception) -> Response:
    log.error("a request has failed: %s: %s", type(error).__name__, error, exc_info=bool(os.environ.get("VARIETAS_DEBUG")))
    return JSONResponse(Refused("the server has failed; its log says why", status=500).body, 500)
