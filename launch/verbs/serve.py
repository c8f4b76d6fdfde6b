"""`varietas serve`: answers requests of OpenAI's clients with the newest checkpoint of a run."""

import argparse
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from varietas.launch.flags import add_run, add_small, path, port, positive_int

if TYPE_CHECKING:
    from varietas.launch.models.quantizing import Small
    from varietas.train.serving.service import Service

SUMMARY = "answer requests over HTTP as OpenAI's servers do"
EXAMPLE = "varietas serve --run runs/demo --port 8000"
KEY = "VARIETAS_API_KEY"  # the variable


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_small(parser)
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on; 0.0.0.0 for all (default: %(default)s)")
    parser.add_argument("--port", type=port, default=8000, metavar="N", help="0 takes a free one (default: %(default)s)")
    parser.add_argument(
        "--batch_size", type=positive_int, default=16, metavar="N", help="texts that are continued at once (default: %(default)s)"
    )
    parser.add_argument(
        "--cache_tokens",
        type=positive_int,
        metavar="N",
        help="tokens that the key-value cache holds, of all texts together (default: as many as batch_size texts may have, if they fit)",
    )
    parser.add_argument("--max_queue", type=positive_int, default=1024, metavar="N", help="texts that may wait (default: %(default)s)")
    parser.add_argument(
        "--api_key_file", type=path, metavar="FILE", help=f"ask clients for the key in this file (or in the variable {KEY})"
    )


def run(args: argparse.Namespace, console: Console) -> int:
    try:
        from varietas.train.serving.server import listen, serve
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"serve needs {error.name}; run: pip install 'varietas[serve]'") from None
    from varietas.launch.inputs import small_of

    key, small = api_key(args.api_key_file), small_of(args, console)
    listener = listen(args.host, args.port)
    with console.status("loading the model, and compiling it"):
        service = service_of(args, small)
    host, port = listener.getsockname()[:2]
    serve(service, listener, key, console, greeting(service, f"http://{f'[{host}]' if ':' in host else host}:{port}", key))
    return 0


def api_key(file: Path | None) -> str | None:
    """Returns the key that clients have to send; None if there is none. Raises ValueError if it cannot be read."""
    try:
        key = os.environ.get(KEY) if file is None else file.read_text("utf-8")
        key = None if key is None else key.strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"--api_key_file {file} cannot be read ({error}); write the key into it, and nothing else") from None
    if key is not None and not (key.isascii() and key.isprintable() and key):
        raise ValueError(f"{KEY if file is None else file} is no key; take what `openssl rand -hex 32` gives")
    return key


def service_of(args: argparse.Namespace, small: "Small | None") -> "Service":
    """Loads the model onto a mesh that splits its heads, and compiles what the server needs.

    Raises:
        ValueError: If there is no checkpoint, or it is damaged.
        MemoryError: If there is not enough memory.
    """
    import jax

    from varietas.data.chat.template import Chat, chat_in
    from varietas.data.tokenizer.model import file_in
    from varietas.data.tokenizer.model import load as load_tokenizer
    from varietas.launch import resolve
    from varietas.launch.models.quantizing import made_small
    from varietas.train.inference.generate import generator
    from varietas.train.inference.network import load
    from varietas.train.program import connected_mesh
    from varietas.train.run_folder.config import read_config
    from varietas.train.run_folder.folder import saved_step
    from varietas.train.serving.pages import PAGE
    from varietas.train.serving.prompts import Served
    from varietas.train.serving.service import Service
    from varietas.train.serving.step import Programs, pages_that_fit

    folder = args.run.absolute()
    config = resolve.reopened(read_config(folder), None)
    saved_step(folder)
    processor = load_tokenizer(file_in(folder))
    chat: Chat | str
    try:
        chat = chat_in(folder)
    except (ValueError, ModuleNotFoundError) as error:
        chat = str(error)
    split_by_heads = resolve.with_values(config, {"mesh.data": 1, "mesh.fsdp": 1, "mesh.tensor": -1})
    exp = resolve.experiment_of(resolve.with_mesh(split_by_heads, args.cpu_devices, fit=True))
    network, step = load(folder, exp.model, connected_mesh(exp))
    model = generator(made_small(network, folder, small) if small else network)
    del network
    jax.block_until_ready(model.weights)  # before free memory is looked at
    pages = pages_that_fit(model.config, model.mesh, args.cache_tokens, args.batch_size)
    context = min(model.config.max_seq_len, pages * PAGE)
    programs = Programs(model, processor.get_piece_size(), pages, args.batch_size, context)
    fingerprint = f"{folder.name}-{step}{f'-{small.name}' if small else ''}"
    served = Served(folder.name, step, fingerprint, int(time.time()), context, processor, chat)
    return Service(served, programs, pages, args.batch_size, args.max_queue)


def greeting(service: "Service", address: str, key: str | None) -> str:
    """Says what is served where, and how to ask it."""
    from varietas.train.serving.pages import PAGE

    served, engine = service.served, service.engine
    header = "" if key is None else ' -H "Authorization: Bearer $KEY"'
    if isinstance(served.chat, str):
        place, asked = "completions", '"prompt": "Všichni lidé"'
    else:
        place, asked = "chat/completions", '"messages": [{"role": "user", "content": "Dobrý den"}]'
    example = f"curl {address}/v1/{place} -H 'Content-Type: application/json'{header} -d '{{{asked}, \"max_tokens\": 32}}'"
    return (
        f"{served.name} after {served.step:,} steps at {address}/v1{'' if key is None else ', with a key'}\n"
        f"context {served.context:,} tokens; {engine.batch_size} texts at once; cache {engine.pool.n_pages * PAGE:,} tokens\n"
        f"{example}\n"
        "Ctrl-C ends it"
    )
