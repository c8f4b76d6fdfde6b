"""A server on a real port, asked by OpenAI's own client and by clients that do everything wrong."""

import http.client
import json
import math
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import jax
import numpy as np
import openai
import pytest
from rich.console import Console

from varietas.data.chat.template import OWN, Chat
from varietas.data.tokenizer.model import Tokenizer, encode_prompts, file_in, load
from varietas.launch.config import load_config
from varietas.model.config import ModelConfig
from varietas.model.decoder import graph_and_shapes
from varietas.model.sharding import make_mesh
from varietas.train.inference.evaluate import Text, nats
from varietas.train.inference.generate import Generator, generator
from varietas.train.inference.network import Network
from varietas.train.inference.sampling import Sampling
from varietas.train.inference.text import continuations
from varietas.train.serving import server as serving
from varietas.train.serving.prompts import Served
from varietas.train.serving.service import Service
from varietas.train.serving.step import Programs

CONTEXT, PAGES, KEY = 256, 100, "geheim"
CFG = replace(ModelConfig(**load_config("tiny").model), vocab_size=1024, n_kv_heads=2, max_seq_len=CONTEXT)
PROMPT = "Všichni lidé rodí se"
TURNS = [{"role": "system", "content": "Odpovídej krátce."}, {"role": "user", "content": "Kolik je 1 + 1?"}]
IDLE = 1.5  # seconds


@pytest.fixture(scope="module")
def processor(corpus_folder: Path) -> Tokenizer:
    return load(file_in(corpus_folder))


@pytest.fixture(scope="module")
def network() -> Network:
    """Weights large enough that the next token depends on all tokens before it."""
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: rng.normal(0, 0.3, x.shape).astype(np.float32), graph_and_shapes(CFG)[1])
    return Network(params, CFG, make_mesh(1, 1, 1, devices=jax.devices()[:1]))


@pytest.fixture(scope="module")
def model(network: Network) -> Generator:
    return generator(network)


@pytest.fixture(scope="module")
def programs(model: Generator, processor: Tokenizer) -> Programs:
    return Programs(model, processor.get_piece_size(), PAGES, 4, CONTEXT)


class Running:
    """A server in a thread of its own."""

    def __init__(self, programs: Programs, processor: Tokenizer, key: str | None = None, queue: int = 100, grace: float = 30.0):
        served = Served("tiny", 7, "tiny-7", 0, CONTEXT, processor, Chat(processor, OWN))
        self.service = Service(served, programs, PAGES, 4, queue)
        listener = serving.listen("127.0.0.1", 0)
        self.port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        arguments = (self.service, listener, key, Console(quiet=True), "", IDLE, grace)
        self.thread = threading.Thread(target=serving.serve, args=arguments)
        self.client = openai.OpenAI(base_url=f"{self.url}/v1", api_key=key or "none", max_retries=0)

    def __enter__(self) -> "Running":
        self.thread.start()
        end = time.monotonic() + 60
        while not _answers(f"{self.url}/health"):
            assert time.monotonic() < end and self.thread.is_alive()
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        self.service.draining = True  # as a signal does
        self.thread.join(60)
        assert not self.thread.is_alive()

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx.post(f"{self.url}/v1/{path}", content=content, headers={"Content-Type": "application/json", **headers}, timeout=60)

    def idle(self) -> bool:
        """Whether nothing is left of any request."""
        engine = self.service.engine
        return not (self.service.active or engine.running or engine.waiting) and engine.pool.free == PAGES


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def until(ready: Any) -> None:
    end = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(scope="module")
def running(programs: Programs, processor: Tokenizer) -> Iterator[Running]:
    with Running(programs, processor) as found:
        yield found


@pytest.fixture(scope="module")
def client(running: Running) -> openai.OpenAI:
    return running.client


def continued(model: Generator, processor: Tokenizer, ids: list[list[int]], *ends: int, n: int = 20, **how: Any) -> list[str]:
    """What `varietas generate` says."""
    texts = [""] * len(ids)
    for row, text in continuations(model, processor, ids, Sampling(n, **how), ends):
        texts[row] += text
    return texts


def test_a_completion_is_what_generate_says(client: openai.OpenAI, model: Generator, processor: Tokenizer) -> None:
    ids = encode_prompts(processor, [PROMPT, "Kaikki"])
    found = client.completions.create(model="tiny", prompt=[PROMPT, "Kaikki"], max_tokens=20, temperature=0)
    assert [choice.text for choice in found.choices] == continued(model, processor, ids)
    assert [choice.index for choice in found.choices] == [0, 1]
    assert {choice.finish_reason for choice in found.choices} == {"length"}
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (sum(map(len, ids)), 40)
    assert (found.object, found.model, found.system_fingerprint) == ("text_completion", "tiny", "tiny-7")
    by_ids = client.completions.create(model="tiny", prompt=ids, max_tokens=20, temperature=0)
    assert [choice.text for choice in by_ids.choices] == [choice.text for choice in found.choices]
    echoed = client.completions.create(model="tiny", prompt=ids[0], max_tokens=20, temperature=0, echo=True)
    assert echoed.choices[0].text == processor.decode(ids[0]) + found.choices[0].text


def test_a_seed_gives_the_same_choices_again(client: openai.OpenAI, model: Generator, processor: Tokenizer) -> None:
    how = {"model": "tiny", "prompt": PROMPT, "max_tokens": 20, "temperature": 0.9, "top_p": 0.8, "n": 3}
    ids = encode_prompts(processor, [PROMPT] * 3)
    one, again, other, none = (client.completions.create(**how, **seed) for seed in ({"seed": 5}, {"seed": 5}, {"seed": -6}, {}))
    texts = [[choice.text for choice in answer.choices] for answer in (one, again, other, none)]
    assert texts[0] == texts[1] == continued(model, processor, ids, temperature=0.9, top_p=0.8, seed=5)
    assert len({*texts[0], *texts[2], *texts[3]}) == 9
    assert one.usage.prompt_tokens == len(ids[0])


def test_a_chat_follows_the_template(client: openai.OpenAI, model: Generator, processor: Tokenizer) -> None:
    chat = Chat(processor, OWN)
    ids = chat.prompt(tuple((turn["role"], turn["content"]) for turn in TURNS))
    found = client.chat.completions.create(model="tiny", messages=TURNS, max_completion_tokens=20, temperature=0)
    assert found.choices[0].message.content == continued(model, processor, [ids], chat.end_id)[0]
    assert found.choices[0].message.role == "assistant" and found.object == "chat.completion"
    assert found.usage.prompt_tokens == len(ids)
    in_parts = [{"role": "developer", "content": [{"type": "text", "text": TURNS[0]["content"]}]}, TURNS[1]]
    assert client.chat.completions.create(model="tiny", messages=in_parts, max_tokens=20, temperature=0).choices == found.choices
    longer = [*TURNS, {"role": "assistant", "content": "Dvě."}, {"role": "user", "content": "A 2 + 2?"}]
    more = client.chat.completions.create(model="tiny", messages=longer, max_tokens=4, temperature=0)
    assert more.usage.prompt_tokens > found.usage.prompt_tokens
    whole = client.chat.completions.create(model="tiny", messages=TURNS, temperature=0)  # up to an end, or the end of the context
    assert whole.choices[0].finish_reason == "stop" or whole.usage.total_tokens == CONTEXT


@pytest.mark.parametrize("kind", ["completion", "chat"])
def test_a_stream_is_the_same_in_parts(client: openai.OpenAI, kind: str) -> None:
    how: dict[str, Any] = {"model": "tiny", "max_tokens": 20, "temperature": 1.0, "seed": 3, "n": 2}
    create, how = (
        (client.completions.create, {**how, "prompt": PROMPT, "logprobs": 2, "echo": True})
        if kind == "completion"
        else (client.chat.completions.create, {**how, "messages": TURNS, "logprobs": True, "top_logprobs": 2})
    )
    whole = create(**how)
    *parts, last = list(create(**how, stream=True, stream_options={"include_usage": True}))
    assert last.usage == whole.usage and not last.choices
    for choice in whole.choices:
        mine = [part.choices[0] for part in parts if part.choices[0].index == choice.index]
        assert [part.finish_reason for part in mine] == [None] * (len(mine) - 1) + [choice.finish_reason]
        assert len(mine) > 5
        if kind == "chat":
            assert mine[0].delta.role == "assistant"
            assert "".join(part.delta.content for part in mine) == choice.message.content
            assert [one for part in mine if part.logprobs for one in part.logprobs.content] == choice.logprobs.content
        else:
            assert "".join(part.text for part in mine) == choice.text
            for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
                assert [one for part in mine for one in getattr(part.logprobs, name)] == getattr(choice.logprobs, name)


def test_likelihoods_of_a_prompt_are_those_of_evaluate(client: openai.OpenAI, network: Network, processor: Tokenizer) -> None:
    """As lm_eval's local-completions asks for them: with `echo`, for no new token or for one."""
    (ids,) = encode_prompts(processor, [PROMPT])
    text = Text((np.array(ids),), (np.arange(len(ids)) > 0,), (1,), 1, ("",), ("",))
    (expected,) = nats(network, {"x": text}, CONTEXT, 1)["x"]
    for new in (0, 1):
        (choice,) = client.completions.create(model="tiny", prompt=ids, max_tokens=new, temperature=0, logprobs=1, echo=True).choices
        told = choice.logprobs
        assert len(told.tokens) == len(told.token_logprobs) == len(told.text_offset) == len(ids) + new
        assert told.token_logprobs[0] is None and told.top_logprobs[0] is None
        assert -sum(told.token_logprobs[1 : len(ids)]) == pytest.approx(expected, rel=1e-5)
        for token, log, top in list(zip(told.tokens, told.token_logprobs, told.top_logprobs, strict=True))[1:]:
            assert token in top and log <= max(top.values()) and len(top) <= 2
        if new:  # the token that was chosen is the likeliest
            assert told.token_logprobs[-1] == max(told.top_logprobs[-1].values())
        ends = [*told.text_offset[1:], len(choice.text)]
        shown = [choice.text[begin:end] for begin, end in zip(told.text_offset, ends, strict=True)]
        assert [token for token in told.tokens if not token.startswith(("<s>", "bytes:"))] == [
            part for part, token in zip(shown, told.tokens, strict=True) if not token.startswith(("<s>", "bytes:"))
        ]


def test_likelihoods_of_a_chat_have_bytes(client: openai.OpenAI) -> None:
    (choice,) = client.chat.completions.create(
        model="tiny", messages=TURNS, max_tokens=20, temperature=0, logprobs=True, top_logprobs=5
    ).choices
    content = choice.logprobs.content
    assert len(content) == 20
    assert bytes(byte for one in content for byte in one.bytes).decode(errors="replace").strip() == choice.message.content.strip()
    for one in content:
        assert len(one.top_logprobs) == 5
        assert one.logprob == one.top_logprobs[0].logprob and one.token == one.top_logprobs[0].token
        assert sum(math.exp(other.logprob) for other in one.top_logprobs) <= 1 + 1e-6


def test_a_stop_ends_the_text_before_it(client: openai.OpenAI) -> None:
    how = {"model": "tiny", "prompt": PROMPT, "max_tokens": 40, "temperature": 0}
    text = client.completions.create(**how).choices[0].text
    stop = text[10:13]
    place = text.index(stop)
    for stream in (False, True):
        answer = client.completions.create(**how, stop=["\x00", stop], stream=stream)
        choices = [part.choices[0] for part in answer] if stream else answer.choices
        assert "".join(choice.text for choice in choices) == text[:place]
        assert choices[-1].finish_reason == "stop"


def test_fifty_clients_at_once_get_what_each_gets_alone(running: Running) -> None:
    def ask(number: int) -> str:
        how = {"prompt": f"{PROMPT} {number} " * (1 + number % 9), "max_tokens": 5 + number % 17, "temperature": number % 2, "seed": number}
        if number % 3:
            return running.post("completions", how).json()["choices"][0]["text"]
        lines = [line for line in running.post("completions", {**how, "stream": True}).text.splitlines() if line]
        assert lines.pop() == "data: [DONE]"
        return "".join(json.loads(line.removeprefix("data: "))["choices"][0]["text"] for line in lines)

    alone = [ask(number) for number in range(50)]
    with ThreadPoolExecutor(50) as clients:
        assert list(clients.map(ask, range(50))) == alone
    assert len(set(alone)) > 40
    assert running.idle()


CHAT = {"messages": TURNS}
COMPLETION = {"prompt": PROMPT}


@pytest.mark.parametrize(
    ("path", "body", "status", "field", "says"),
    [
        ("completions", b"{", 400, None, "not a JSON object that can be read: Invalid JSON"),
        ("completions", b"", 400, None, "not a JSON object"),
        ("completions", b"[]", 400, None, "not a JSON object"),
        ("completions", b'{"prompt": "\xff"}', 400, None, "not a JSON object"),
        ("completions", b'{"prompt": "\\ud800"}', 400, None, "not a JSON object"),
        ("completions", b'{"prompt": "a", "temperature": NaN}', 400, "temperature", "temperature"),
        ("completions", b'{"prompt": "a", "top_p": Infinity}', 400, "top_p", "top_p"),
        ("completions", b"[" * 100_000, 400, None, "not a JSON object"),
        ("completions", {}, 400, "prompt", "prompt: the field is missing"),
        ("completions", {"prompt": 3}, 400, "prompt", "prompt: expected a text, a list of texts, a list of token ids"),
        ("completions", {"prompt": []}, 400, "prompt", "prompt: expected a text"),
        ("completions", {"prompt": [[]]}, 400, "prompt", "prompt: expected a text"),
        ("completions", {"prompt": ["a", 3]}, 400, "prompt", "prompt: expected a text"),
        ("completions", {"prompt": [True]}, 400, "prompt", "prompt: expected a text"),
        ("completions", {"prompt": [5, 99999]}, 400, "prompt", "token ids are from 0 to 1,023, found 99,999"),
        ("completions", {"prompt": [-1]}, 400, "prompt", "found -1"),
        ("completions", {"prompt": "a " * 9000}, 400, "prompt", "the context is 256 tokens, but the prompt has"),
        ("completions", {"prompt": "a" * 9_000_000}, 400, "prompt", "9,000,000 characters are far more than the context of 256 tokens"),
        ("completions", {**COMPLETION, "max_tokens": 9999}, 400, "max_tokens", "set max_tokens to"),
        ("completions", {**COMPLETION, "max_tokens": -1}, 400, "max_tokens", "max_tokens: expected greater than or equal to 0, found -1"),
        ("completions", {**COMPLETION, "max_tokens": 0}, 400, "max_tokens", "with echo=true"),
        ("completions", {**COMPLETION, "max_tokens": "many"}, 400, "max_tokens", 'expected a valid integer, found "many"'),
        ("completions", {**COMPLETION, "max_tokens": 10**30}, 400, "max_tokens", "set max_tokens to"),
        ("completions", {**COMPLETION, "temperature": -0.1}, 400, "temperature", "expected greater than or equal to 0, found -0.1"),
        ("completions", {**COMPLETION, "temperature": 2.1}, 400, "temperature", "expected less than or equal to 2"),
        ("completions", {**COMPLETION, "top_p": 0}, 400, "top_p", "expected greater than 0"),
        ("completions", {**COMPLETION, "n": 0}, 400, "n", "expected greater than or equal to 1"),
        ("completions", {**COMPLETION, "n": 101}, 400, None, "101 texts are more than the queue has room for, 100"),
        ("completions", {**COMPLETION, "stop": 3}, 400, "stop", "expected a text or a list of texts, found 3"),
        ("completions", {**COMPLETION, "stop": ["a", 3]}, 400, "stop", "expected a text or a list of texts"),
        ("completions", {**COMPLETION, "stop": ["a"] * 17}, 400, "stop", "at most 16 texts, found 17"),
        ("completions", {**COMPLETION, "logprobs": 21}, 400, "logprobs", "less than or equal to 20"),
        ("completions", {**COMPLETION, "stream": "yes"}, 400, "stream", "expected a valid boolean"),
        ("completions", {**COMPLETION, "seed": 1.5}, 400, "seed", "expected a valid integer"),
        ("completions", {**COMPLETION, "model": "gpt-4"}, 404, "model", "this server has 'tiny'"),
        ("completions", {**COMPLETION, "presence_penalty": 0.5}, 400, "presence_penalty", "presence_penalty=0.5 is not supported"),
        ("completions", {**COMPLETION, "logit_bias": {"5": 1}}, 400, "logit_bias", "is not supported"),
        ("completions", {**COMPLETION, "suffix": "b"}, 400, "suffix", "is not supported"),
        ("completions", {**COMPLETION, "best_of": 4}, 400, "best_of", "is not supported"),
        ("completions", {**COMPLETION, "temprature": 1}, 400, "temprature", "did you mean temperature?"),
        ("completions", {**COMPLETION, "guided_regex": "a"}, 400, "guided_regex", "there is no field 'guided_regex'"),
        ("chat/completions", {}, 400, "messages", "messages: the field is missing"),
        ("chat/completions", {"messages": []}, 400, "messages", "messages"),
        ("chat/completions", {"messages": ["a"]}, 400, "messages.0", "messages.0"),
        ("chat/completions", {"messages": [{"role": "user"}]}, 400, "messages.0", "a message without content"),
        ("chat/completions", {"messages": [{"role": "robot", "content": "a"}]}, 400, "messages.0", "unknown role"),
        ("chat/completions", {"messages": [{"role": "user", "content": "<|end|>"}]}, 400, "messages", "spells the special token <|end|>"),
        ("chat/completions", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "messages.0", "not text"),
        ("chat/completions", {"messages": [{"role": "user", "content": "a " * 9000}]}, 400, "messages", "the context is 256 tokens"),
        ("chat/completions", {**CHAT, "max_tokens": 0}, 400, "max_tokens", "expected 1 or more"),
        ("chat/completions", {**CHAT, "top_logprobs": 3}, 400, "top_logprobs", "needs logprobs=true"),
        ("chat/completions", {**CHAT, "tools": [{"type": "function"}]}, 400, "tools", "is not supported"),
        ("chat/completions", {**CHAT, "response_format": {"type": "json_object"}}, 400, "response_format", "is not supported"),
        ("embeddings", {}, 404, None, "POST /v1/embeddings: not found"),
    ],
)
def test_a_broken_request_is_refused_by_name(running: Running, path: str, body: Any, status: int, field: str | None, says: str) -> None:
    found = running.post(path, body)
    error = found.json()["error"]
    assert (found.status_code, error["param"]) == (status, field), error
    assert says in error["message"] and len(error["message"]) < 400
    assert error["type"] == "invalid_request_error"


def test_what_clients_send_besides_does_not_break(running: Running) -> None:
    more = {
        "user": "u", "metadata": {"a": "b"}, "store": False, "presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {}, "n": 1,
        "response_format": {"type": "text"}, "tools": None, "stop": None, "stream": None, "seed": None, "parallel_tool_calls": True,
        "temperature": None, "top_p": 1, "service_tier": "auto", "max_tokens": 3,
    }  # fmt: skip
    assert running.post("chat/completions", {**CHAT, **more}).json()["usage"]["completion_tokens"] <= 3


def test_errors_are_those_of_openais_client(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="tiny", prompt=PROMPT, max_tokens=9999)
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "max_tokens")
    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt-4'"):
        client.completions.create(model="gpt-4", prompt=PROMPT)


def test_models_health_and_metrics(running: Running, client: openai.OpenAI) -> None:
    (model,) = client.models.list().data
    assert (model.id, model.max_model_len, client.models.retrieve("tiny").id) == ("tiny", CONTEXT, "tiny")
    assert httpx.get(f"{running.url}/health").text == "ok"
    before = running.service.engine.new_tokens
    client.completions.create(model="tiny", prompt=PROMPT, max_tokens=7)
    lines = dict(line.split() for line in httpx.get(f"{running.url}/metrics").text.splitlines() if line[0] != "#")
    assert int(lines["varietas_new_tokens_total"]) - before in range(1, 8)
    assert lines["varietas_cache_pages_free"] == lines["varietas_cache_pages"] == str(PAGES)


def test_a_body_has_to_be_called_json(running: Running) -> None:
    """A page of another site can send a form to this machine, but nothing that is called JSON."""
    found = running.post("completions", COMPLETION, **{"Content-Type": "text/plain"})
    assert found.status_code == 415 and "Content-Type: application/json" in found.json()["error"]["message"]


def test_a_large_body_is_not_read(running: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
    connection.putrequest("POST", "/v1/completions")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(1 << 40))
    connection.endheaders()
    assert connection.getresponse().status == 413

    def chunks() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * (1 << 20)

    try:
        found = httpx.post(f"{running.url}/v1/completions", content=chunks(), headers={"Content-Type": "application/json"}, timeout=30)
    except httpx.TransportError:  # the connection may be closed before all is sent
        return
    assert found.status_code == 413


def test_a_client_that_sends_nothing_more_is_told(running: Running) -> None:
    with socket.create_connection(("127.0.0.1", running.port), timeout=30) as slow:
        slow.sendall(b'POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"pro')
        assert slow.recv(1000).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("begun", [b"", b"POST /v1/comp", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /he"])
def test_a_connection_without_a_whole_header_is_closed(running: Running, begun: bytes) -> None:
    with socket.create_connection(("127.0.0.1", running.port), timeout=30) as slow:
        slow.sendall(begun)
        while slow.recv(1000):  # the answer to what was whole, then nothing
            pass


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_frees_its_texts(running: Running, stream: bool) -> None:
    body = json.dumps({**COMPLETION, "max_tokens": 200, "n": 8, "stream": stream}).encode()
    before = running.service.engine.new_tokens
    with socket.create_connection(("127.0.0.1", running.port), timeout=30) as gone:
        gone.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
        gone.sendall(f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        until(lambda: running.service.engine.new_tokens > before)
    until(running.idle)
    assert running.service.engine.new_tokens - before < 8 * 200


def test_a_key_is_asked_for(programs: Programs, processor: Tokenizer) -> None:
    with Running(programs, processor, key=KEY) as guarded:
        assert guarded.client.completions.create(model="tiny", prompt=PROMPT, max_tokens=2).choices
        for sent in ({}, *({"Authorization": value.encode()} for value in (KEY, "Bearer x", "Bearer", "Bearer é"))):
            for path, body in (("completions", COMPLETION), ("chat/completions", CHAT)):
                found = httpx.post(f"{guarded.url}/v1/{path}", json=body, headers=sent)
                assert found.status_code == 401 and found.json()["error"]["code"] == "invalid_api_key"
            assert httpx.get(f"{guarded.url}/v1/models", headers=sent).status_code == 401
        assert httpx.get(f"{guarded.url}/health").status_code == 200


def test_a_full_queue_says_when_to_come_again(programs: Programs, processor: Tokenizer) -> None:
    with Running(programs, processor, queue=3) as busy, ThreadPoolExecutor(2) as clients:
        long = {**COMPLETION, "max_tokens": 200, "stream": True}
        first = [clients.submit(busy.post, "completions", {**long, "n": n}) for n in (3, 3)]
        until(lambda: busy.service.active == 6)
        refused = busy.post("completions", {**COMPLETION, "n": 2})
        assert refused.status_code == 429 and refused.headers["retry-after"] == "1"
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert all(answer.result().text.endswith("data: [DONE]\n\n") for answer in first)


def test_the_end_lets_running_requests_finish_and_refuses_new_ones(programs: Programs, processor: Tokenizer) -> None:
    with Running(programs, processor) as ending, ThreadPoolExecutor(8) as clients:
        long = {**COMPLETION, "max_tokens": 220, "temperature": 0}
        answers = [clients.submit(ending.post, "completions", {**long, "stream": stream}) for stream in (True, False) * 4]
        until(lambda: ending.service.active == 8)
        ending.service.draining = True
        refused = ending.post("completions", COMPLETION)
        assert refused.status_code == 503 and refused.headers["retry-after"]
        assert httpx.get(f"{ending.url}/health").status_code == 503
        for number, answer in enumerate(answers):
            body = answer.result()
            assert body.text.endswith("data: [DONE]\n\n") if number % 2 == 0 else body.json()["usage"]["completion_tokens"] == 220


def test_what_is_not_finished_in_time_ends_with_an_error(programs: Programs, processor: Tokenizer) -> None:
    with Running(programs, processor, grace=0.0) as ending, ThreadPoolExecutor(8) as clients:
        answers = [
            clients.submit(ending.post, "completions", {**COMPLETION, "max_tokens": 220, "stream": stream}) for stream in (True, False) * 4
        ]
        until(lambda: ending.service.active == 8)
        ending.service.draining = True
        for number, answer in enumerate(answers):
            found = answer.result()
            last = json.loads(found.text.split("data: ")[-1]) if number % 2 == 0 else found.json()
            assert last["error"]["code"] == "stopping" and found.status_code == (200 if number % 2 == 0 else 503)
