"""Records of collections to conversations and preferences, and what cannot be learned from."""

import pytest

from varietas.data.text.conversation import Turns, preference_of, said, turns_of

ASKED = ({"role": "user", "content": "a"},)
ANSWERED = {"role": "assistant", "content": "b"}


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, (("user", "a"), ("assistant", "b"))),
        ({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}, (("user", "a"), ("assistant", "b"))),
        ({"messages": [{"role": "assistant", "content": [{"type": "text", "text": "b"}]}]}, (("assistant", "b"),)),
        (  # as Parquet gives what some messages lack
            {
                "messages": [
                    {"role": "assistant", "from": None, "content": "b", "weight": None},
                    {"role": None, "from": "human", "value": "c"},
                ]
            },
            (("assistant", "b"), ("user", "c")),
        ),
        ({"messages": "a"}, "not a conversation"),
        ({"chosen": "a", "rejected": "b"}, "a preference, not a conversation"),
        ({"messages": []}, "nothing said by the assistant"),
        ({"messages": [{"role": "assistant", "content": " "}]}, "nothing said by the assistant"),
        ({"messages": ["a"]}, "a message is not an object"),
        ({"messages": [{"content": "a"}]}, "a message without a role"),
        ({"messages": [{"role": "judge", "content": "a"}]}, "a message of an unknown role"),
        ({"messages": [{"role": "assistant", "content": None}]}, "a message without content"),
        ({"messages": [{"role": "assistant", "content": None, "tool_calls": [{}]}]}, "a message with tool_calls"),
        ({"messages": [{"role": "assistant", "content": "a", "weight": 0}]}, "a message with a weight"),
        ({"messages": [{"role": "assistant", "content": "a"}], "tools": [{}]}, "a conversation with tools"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "a message with parts that are not text"),
    ],
)
def test_turns_of_a_record(record: dict[str, object], expected: Turns | str) -> None:
    if isinstance(expected, tuple):
        assert turns_of(record) == expected
        return
    with pytest.raises(ValueError, match=expected):
        turns_of(record)


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "a", "chosen": "b", "rejected": "c"},
        {"prompt": [*ASKED], "chosen": [ANSWERED], "rejected": "c"},
        {"prompt": "a", "chosen": [*ASKED, ANSWERED], "rejected": [*ASKED, {"from": "gpt", "value": "c"}]},
    ],
)
def test_preference_of_a_record(record: dict[str, object]) -> None:
    chosen, rejected = preference_of(record)
    assert chosen == (("user", "a"), ("assistant", "b")) and rejected == (("user", "a"), ("assistant", "c"))
    assert said(chosen, rejected) == "a\n\nb\n\nc" and said(chosen) == "a\n\nb"


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"chosen": "b"}, "not a preference: no rejected"),
        ({"rejected": "b", "chosen": None}, "not a preference: no chosen"),
        ({"messages": [*ASKED, ANSWERED]}, "a conversation, not a preference"),
        ({"prompt": "other", "chosen": [*ASKED, ANSWERED], "rejected": "c"}, "the prompt is not that of chosen or rejected"),
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, "chosen and rejected are the same"),
        ({"chosen": "b", "rejected": "c"}, "chosen or rejected without a prompt"),
        ({"prompt": "a", "chosen": "b", "rejected": " "}, "does not end with what the assistant says to a prompt"),
        ({"prompt": "a", "chosen": [*ASKED, ANSWERED], "rejected": "c"}, None),
        ({"chosen": [*ASKED, ANSWERED], "rejected": [{"role": "user", "content": "other"}, ANSWERED]}, "answer different prompts"),
        ({"chosen": [*ASKED, ANSWERED], "rejected": [*ASKED, ANSWERED, *ASKED, ANSWERED]}, "answer different prompts"),
        ({"prompt": 1, "chosen": "b", "rejected": "c"}, "neither a text nor a list of messages"),
        ({"prompt": "a", "chosen": "b", "rejected": "c", "tools": [{}]}, "a conversation with tools"),
    ],
)
def test_what_is_no_preference(record: dict[str, object], says: str | None) -> None:
    if says is None:
        preference_of(record)
        return
    with pytest.raises(ValueError, match=says):
        preference_of(record)
