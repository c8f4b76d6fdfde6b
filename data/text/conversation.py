"""Conversations: the turns of a record with `messages` (as OpenAI, TRL and transformers have them) or `conversations` (ShareGPT)."""

from collections.abc import Mapping
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
        raise ValueError("not a conversation: no messages")
    if record.get("tools"):
        raise ValueError("a conversation with tools")
    turns = tuple(_turn(message) for message in messages)
    if not any(role == "assistant" and content.strip() for role, content in turns):
        raise ValueError("nothing said by the assistant")
    return turns


def said(turns: Turns) -> str:
    """Returns what is said in all turns as one text."""
    return "\n\n".join(content for _, content in turns)


def _turn(message: Any) -> tuple[str, str]:
    if not isinstance(message, dict):
        raise ValueError("a message is not an object")
    said, content = message.get("role", message.get("from")), message.get("content", message.get("value"))
    role = ROLES.get(said) if isinstance(said, str) else None
    if role is None:
        raise ValueError("a message of an unknown role" if isinstance(said, str) else "a message without a role")
    if more := next((field for field in MORE if message.get(field)), None):
        raise ValueError(f"a message with {more}")
    if message.get("weight", 1) != 1:
        raise ValueError("a message with a weight")
    if isinstance(content, list):  # parts, of which some may be images
        if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in content):
            raise ValueError("a message with parts that are not text")
        content = "".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise ValueError("a message without content")
    return role, content
