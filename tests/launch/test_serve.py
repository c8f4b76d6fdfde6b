"""`varietas serve` as a process: what it says, a signal in the middle of its work, and lm_eval's own clients."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import varietas
from varietas.launch.cli import main

pytestmark = pytest.mark.heavy("torch")

PROMPT = "Všichni lidé rodí se svobodní"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, corpus_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "mine"
    varietas.Run("tiny", {"train.steps": 20}, folder).train()
    return folder


def start(run: Path, *more: str) -> tuple[subprocess.Popen[str], list[str]]:
    """Starts a server, and returns it with the lines that it says once it is ready."""
    command = [sys.executable, "-m", "varietas.launch", "serve", "--run", str(run), "--port", "0", "--cpu_devices", "2", *more]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert server.stdout and server.stderr
    said = [server.stdout.readline().rstrip() for _ in range(4)]
    assert said[-1] == "Ctrl-C ends it", (said, server.poll() is not None and server.stderr.read())
    return server, said


@pytest.fixture(scope="module")
def server(run: Path) -> Iterator[tuple[str, list[str]]]:
    process, said = start(run)
    yield re.findall(r"http://[\d.:]+", said[0])[0], said
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")


def test_it_says_what_is_served_and_the_command_that_it_shows_works(server: tuple[str, list[str]]) -> None:
    url, said = server
    assert said[0] == f"mine after 20 steps at {url}/v1"
    assert said[1] == "context 128 tokens; 16 texts at once; cache 2,048 tokens"
    done = subprocess.run(shlex.split(said[2]), capture_output=True, text=True, timeout=60)
    answer = json.loads(done.stdout)
    assert answer["usage"]["completion_tokens"] <= 32 and answer["choices"][0]["message"]["role"] == "assistant"


def test_it_says_what_generate_says(server: tuple[str, list[str]], run: Path) -> None:
    body = {"prompt": PROMPT, "max_tokens": 24, "temperature": 0.8, "seed": 4, "model": "mine"}
    answer = httpx.post(f"{server[0]}/v1/completions", json=body, timeout=60).json()
    assert answer["choices"][0]["text"] == varietas.Run.open(run).generate(PROMPT, 24, 0.8, seed=4)
    assert answer["system_fingerprint"] == "mine-20"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_cuts_no_answer(run: Path, number: int) -> None:
    process, said = start(run)
    url = re.findall(r"http://[\d.:]+", said[0])[0]
    client = httpx.Client(timeout=60, limits=httpx.Limits(max_connections=50))

    def ask(n: int) -> str:
        body = {"prompt": f"{PROMPT} {n}", "max_tokens": 90, "stream": n % 2 == 0, "seed": n}
        try:
            answer = client.post(f"{url}/v1/completions", json=body)
        except httpx.ConnectError:  # the server has ended before
            return "late"
        if answer.status_code == 503:
            assert answer.json()["error"]["code"] == "stopping"
            return "refused"
        if n % 2:
            assert answer.json()["choices"][0]["finish_reason"] in ("stop", "length")
        else:
            assert answer.text.endswith("data: [DONE]\n\n")
        return "whole"

    with ThreadPoolExecutor(48) as clients:
        first = [clients.submit(ask, n) for n in range(40)]
        counts: list[int] = []
        while len(counts) < 2 or not all(counts):
            counts = [
                int(n) for n in re.findall(r"^varietas_texts_(?:running|waiting) (\d+)", client.get(f"{url}/metrics").text, re.MULTILINE)
            ]
        process.send_signal(number)
        later = [clients.submit(ask, n) for n in range(40, 48)]
        found = [answer.result() for answer in first], [answer.result() for answer in later]
    assert found[0].count("whole") >= sum(counts) and "refused" in found[0] + found[1]
    assert process.wait(60) == 0
    assert process.communicate() == ("", "")


def test_mistakes_are_told_before_the_model_is_loaded(run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        mistakes = [
            (("--port", str(taken.getsockname()[1])), "cannot be used"),
            (("--host", "no.such.host.invalid", "--port", "0"), "cannot be used"),
            (("--port", "70000"), "expected a port from 0 to 65535, found '70000'"),
            (("--api_key_file", str(tmp_path / "none")), "cannot be read"),
            (("--api_key_file", str(tmp_path / "empty")), "is no key"),
            (("--calibrate",), "--calibrate is for --quantize int4"),
            (("--port", "0", "--cache_tokens", str(10**12)), "lower --cache_tokens"),
        ]
        (tmp_path / "empty").touch()
        for flags, says in mistakes:
            assert main(["serve", "--run", str(run), *flags]) == 2
            assert says in capfd.readouterr().err
    assert main(["serve", "--run", str(tmp_path / "none")]) == 2


def test_lm_eval_gets_the_likelihoods_of_the_model_itself(server: tuple[str, list[str]], run: Path, tmp_path: Path) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.models.openai_completions import LocalChatCompletion, LocalCompletionsAPI

    varietas.Run.open(run).export(tmp_path / "release")
    pairs = [("Všichni lidé", " rodí se svobodní"), ("Alle Menschen", " sind frei"), ("Kaikki", " ihmiset syntyvät vapaina")]
    named = {"model": "mine", "tokenizer": str(tmp_path / "release"), "max_length": 128, "num_concurrent": 4}
    remote = LocalCompletionsAPI(base_url=f"{server[0]}/v1/completions", tokenizer_backend="huggingface", add_bos_token=True, **named)
    asked = [Instance("loglikelihood", {}, pair, number) for number, pair in enumerate(pairs)]
    found = remote.loglikelihood(asked, disable_tqdm=True)
    for (context, continuation), (log, _) in zip(pairs, found, strict=True):
        n = len(remote.tok_encode(context))
        assert log == pytest.approx(-own_nats(run, remote.tok_encode(context + continuation), n), rel=1e-4)
    how = {"until": ["\n"], "max_gen_toks": 16, "temperature": 0}
    (text,) = remote.generate_until([Instance("generate_until", {}, (PROMPT, how), 0)], disable_tqdm=True)
    assert text == varietas.Run.open(run).generate(PROMPT, 16)
    chat = LocalChatCompletion(base_url=f"{server[0]}/v1/chat/completions", tokenizer_backend=None, model="mine")
    prompt = chat.apply_chat_template([{"role": "user", "content": "Kolik je 1 + 1?"}])
    (text,) = chat.generate_until([Instance("generate_until", {}, (prompt, {**how, "until": ["\x00"]}), 0)], disable_tqdm=True)
    assert text == varietas.Run.open(run).generate("Kolik je 1 + 1?", 16, chat=True)


def own_nats(run: Path, ids: list[int], n: int) -> float:
    """The negative log-likelihood of the ids from the n-th on, as `evaluate` computes it."""
    from varietas.train.inference.evaluate import Text, nats

    network, _ = varietas.Run.open(run)._network()
    return nats(network, {"x": Text((np.array(ids),), (np.arange(len(ids)) >= n,), (1,), 1, ("",), ("",))}, 128, 8)["x"][0]


def test_the_python_of_the_page_works(server: tuple[str, list[str]], run: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "serving.md").read_text("utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    code = code.replace("http://127.0.0.1:8000", server[0]).replace('model="demo"', 'model="mine"')
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=dict(os.environ))
    assert done.returncode == 0, done.stderr


def test_a_key_in_a_file(run: Path, tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text("geheim\n")
    process, said = start(run, "--api_key_file", str(tmp_path / "key.txt"), "--quantize", "int8", "--batch_size", "2")
    try:
        url = re.findall(r"http://[\d.:]+", said[0])[0]
        assert said[0].endswith(", with a key") and '-H "Authorization: Bearer $KEY"' in said[2]

        def status(**headers: str) -> Any:
            return httpx.get(f"{url}/v1/models", headers=headers).status_code

        assert (status(), status(Authorization="Bearer x"), status(Authorization="Bearer geheim")) == (401, 401, 200)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
