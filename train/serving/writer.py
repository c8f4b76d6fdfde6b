"""Tokens to text that may be sent: whole characters, up to a stop sequence, and nothing that may turn out to be the beginning of one."""

from collections.abc import Sequence

from varietas.data.tokenizer.model import Incremental, Tokenizer


class Writer:
    """Writes the text of one answer as its tokens come.

    Args:
        processor: The tokenizer.
        prompt: The ids that come before.
        stops: Texts that end the answer, and do not belong to it.
    """

    def __init__(self, processor: Tokenizer, prompt: Sequence[int], stops: Sequence[str]):
        self._decoder = Incremental(processor, prompt)
        self._stops, self._held, self.stopped = stops, "", False

    def add(self, token: int) -> str:
        """Adds a token and returns the text that is certain now. Sets `stopped` if it completes a stop sequence."""
        return self._certain(self._decoder.add(token))

    def end(self) -> str:
        """Returns the text that is left."""
        if self.stopped:
            return ""
        text = self._certain(self._decoder.end())
        return text if self.stopped else text + self._held

    def _certain(self, new: str) -> str:
        text = self._held + new
        places = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if places:
            self.stopped, self._held = True, ""
            return text[: min(places)]
        hold = max((n for stop in self._stops for n in range(1, min(len(stop), len(text) + 1)) if text.endswith(stop[:n])), default=0)
        self._held = text[len(text) - hold :]
        return text[: len(text) - hold]
