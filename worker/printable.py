"""Text of others made fit for a terminal and for a log line.

Names, payloads, paths and messages come from records, HTTP clients, brokers and databases. Printed
as it is, an ESC sequence could change an operator's terminal, a line end could forge a log line,
and a bidirectional override could show a text in another order than it has.

JSON from ``json.dumps`` needs none of this: it is printable ASCII, all else is escaped.
"""


def printable(text: str) -> str:
    """Return ``text`` on one line. Characters that are not printable become Python's escapes.

    Those are control characters, ESC, line ends, all that is invisible or changes the direction of
    the text, and halves of surrogate pairs.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def printable_lines(text: str, margin: str = "") -> str:
    """Return ``text`` with its line ends, each line printable and after ``margin``."""
    return "\n".join(f"{margin}{printable(line)}" for line in text.split("\n"))
