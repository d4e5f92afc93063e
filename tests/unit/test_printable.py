"""Text of others cannot change a terminal, forge a line or change the order of what is shown."""

import json

import pytest

from worker.printable import printable, printable_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Will it rain in Zürich? 50 € 日本", "Will it rain in Zürich? 50 € 日本"),
        ("\x1b[2J\x1b]0;owned\x07", r"\x1b[2J\x1b]0;owned\x07"),
        ("a\nb\rc\td\x00", r"a\nb\rc\td\x00"),
        ("\x7f\x9b31m", r"\x7f\x9b31m"),
        ("pay \u202eeno\u2066\u200b\ufeff", r"pay \u202eeno\u2066\u200b\ufeff"),
        ("\u2028\u2029\x85", r"\u2028\u2029\x85"),
        ("\ud800 \U000e0041", r"\ud800 \U000e0041"),
    ],
)
def test_unprintable_characters_become_escapes(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown


def test_lines_keep_their_ends() -> None:
    assert printable_lines("a\x1b\n\u2028b", "  ") == "  a\\x1b\n  \\u2028b"


def test_every_character_is_printable_in_json() -> None:
    text = " ".join(map(chr, range(0x11000)))

    line = json.dumps({"text": text})

    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == {"text": text}
