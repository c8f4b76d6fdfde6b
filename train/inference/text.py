"""Text from a model: prompts in, their continuations out, as they come."""

from collections.abc import Iterator, Sequence

from varietas.data.text.embedded import parallel_documents
from varietas.data.tokenizer.model import Incremental, Tokenizer, encode_prompts
from varietas.train.inference.generate import Generator, generate
from varietas.train.inference.sampling import Sampling

SAMPLE_LANGUAGES = ("eng_Latn", "deu_Latn", "ces_Latn", "ell_Grek", "fin_Latn", "bul_Cyrl")
MOST_SAMPLED = 48


def continuations(
    model: Generator, processor: Tokenizer, prompts: Sequence[Sequence[int]], sampling: Sampling, ends: Sequence[int] = ()
) -> Iterator[tuple[int, str]]:
    """Continues prompts.

    Args:
        model: From `generate.generator`.
        processor: The tokenizer of the run.
        prompts: Token ids of each prompt, from `tokenizer.model.encode_prompts`.
        sampling: How tokens are chosen, and how many.
        ends: Tokens that end a text, besides eos.

    Yields:
        The number of a prompt and the text that its next token adds.
    """
    decoders = [Incremental(processor, prompt) for prompt in prompts]
    for tokens in generate(model, prompts, sampling, (processor.eos_id(), *ends), processor.get_piece_size()):
        for row, token in enumerate(tokens):
            if token is not None and (text := decoders[row].add(token)):
                yield row, text
    for row, decoder in enumerate(decoders):
        if text := decoder.end():
            yield row, text


def sample(model: Generator, processor: Tokenizer, trained_on: Sequence[str], max_tokens: int = MOST_SAMPLED) -> list[dict[str, str]]:
    """Continues the beginning of the Declaration of Human Rights in a few languages, for the report.

    Args:
        model: From `generate.generator`.
        processor: The tokenizer of the run.
        trained_on: The languages of the run, of which SAMPLE_LANGUAGES are chosen, or else the first few; empty if they are not known.
        max_tokens: New tokens of each sample; at most half of the model's context.

    Returns:
        For each language a record of `language`, `prompt` and `text`.
    """
    openings = {document.lang: " ".join(document.text.split()[:5]) for document in parallel_documents()}
    codes = [code for code in SAMPLE_LANGUAGES if code in trained_on or not trained_on] or list(trained_on)[: len(SAMPLE_LANGUAGES)]
    prompts = [openings.get(code, "") for code in codes]
    texts = [""] * len(prompts)
    sampling = Sampling(min(max_tokens, model.config.max_seq_len // 2), temperature=0.7, top_p=0.9)
    for row, text in continuations(model, processor, encode_prompts(processor, prompts), sampling):
        texts[row] += text
    return [{"language": code, "prompt": prompt, "text": text} for code, prompt, text in zip(codes, prompts, texts, strict=True)]
