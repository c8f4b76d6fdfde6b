"""Conversations: the turns of a record with `messages` (as OpenAI, TRL and transformers have them) or `conversations` (ShareGPT).

A preference is two conversations that differ in what the assistant says at the end: `chosen` and `rejected`, as TRL has them.
"""

from collections.abc import Mapping
from itertools import takewhile
from typing import Any

Turns = tuple[tuple[str, str], ...]  # role and content of each turn

ROLES = {"system": "system", "developer": "system", "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant"}
FIELDS = ("messages", "conversations")
MORE = ("tool_calls", "function_call", "reasoning_content")  # say something that is not in the content


def is_conversation(record: Mapping[str, Any]) -> bool:
    """Returns whether a record has turns in place of a text."""
    return any(isinstance(record.get(field), list) for field in FIELDS)


def turns_of(record: Mapping[str, Any]) -> Turns:
    """Returns the turns of a record.

    Raises:
        ValueError: If it is not a conversation that can be learned from. The message is the same for all such records.
    """
    messages = next((record[field] for field in FIELDS if isinstance(record.get(field), list)), None)
    if messages is None:
        raise ValueError("a preference, not a conversation" if "chosen" in record else "not a conversation: no messages")
    if record.get("tools"):
        raise ValueError("a conversation with tools")
    turns = tuple(turn_of(message) for message in messages)
    if not any(role == "assistant" and content.strip() for role, content in turns):
        raise ValueError("nothing said by the assistant")
    return turns


def preference_of(record: Mapping[str, Any]) -> tuple[Turns, Turns]:
    """Returns the turns of the chosen and of the rejected conversation of a record.

    They are in `chosen` and `rejected`: as messages, to which those of `prompt` belong if they begin with the assistant's; or as texts
    that answer `prompt`.

    Raises:
        ValueError: If it is not a preference that can be learned from. The message is the same for all such records.
    """
    if is_conversation(record) and "chosen" not in record:
        raise ValueError("a conversation, not a preference")
    if lacking := next((name for name in ("chosen", "rejected") if record.get(name) is None), None):
        raise ValueError(f"not a preference: no {lacking}")
    if record.get("tools"):
        raise ValueError("a conversation with tools")
    chosen, rejected = (_answered(record.get("prompt"), record[name]) for name in ("chosen", "rejected"))
    same = _alike(chosen, rejected)
    if chosen == rejected:
        raise ValueError("chosen and rejected are the same")
    if any(turns[same : same + 1] and turns[same][0] != "assistant" for turns in (chosen, rejected)):
        raise ValueError("chosen and rejected answer different prompts")
    return chosen, rejected


def _answered(prompt: Any, answer: Any) -> Turns:
    """Returns the conversation of a prompt and an answer."""
    turns, asked = _spoken(answer, "assistant"), _spoken(prompt, "user")
    if turns and turns[0][0] == "assistant":
        if not asked:
            raise ValueError("chosen or rejected without a prompt")
        turns = (*asked, *turns)
    elif any(turn not in turns for turn in asked):
        raise ValueError("the prompt is not that of chosen or rejected")
    if len(turns) < 2 or turns[-1][0] != "assistant" or not turns[-1][1].strip():
        raise ValueError("chosen or rejected does not end with what the assistant says to a prompt")
    return turns


def _spoken(content: Any, role: str) -> Turns:
    """Returns the turns of a list of messages, or the one of a text that this role says; none for None."""
    if isinstance(content, str):
        return ((role, content),)
    if not isinstance(content, (list, type(None))):
        raise ValueError("chosen, rejected or prompt is neither a text nor a list of messages")
    return tuple(map(turn_of, content or ()))


def said(turns: Turns, rejected: Turns = ()) -> str:
    """Returns what is said in all turns as one text; of a preference, what both conversations begin with only once."""
    return "\n\n".join(content for _, content in (*turns, *rejected[_alike(turns, rejected) :]))


def _alike(one: Turns, other: Turns) -> int:
    """Returns how many turns two conversations have in common at their beginning."""
    return sum(1 for _ in takewhile(lambda both: both[0] == both[1], zip(one, other, strict=False)))


def turn_of(message: Any) -> tuple[str, str]:
    """Returns the role and the content of a message. Raises ValueError if it cannot be used; the message is the same for all such."""
    if not isinstance(message, dict):
        raise ValueError("a message is not an object")
    speaker, content = (
        next((message[name] for name in names if message.get(name) is not None), None) for names in (("role", "from"), ("content", "value"))
    )
    role = ROLES.get(speaker) if isinstance(speaker, str) else None
    if role is None:
        raise ValueError("a message of an unknown role" if isinstance(speaker, str) else "a message without a role")
    if more := next((field for field in MORE if message.get(field)), None):
        raise ValueError(f"a message with {more}")
    if message.get("weight") not in (None, 1):
        raise ValueError("a message with a weight")
    if isinstance(content, list):  # parts, of which some may be images
        if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in content):
            raise ValueError("a message with parts that are not text")
        content = "".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise ValueError("a message without content")
    return role, content
