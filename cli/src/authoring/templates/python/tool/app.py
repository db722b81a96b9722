"""A tool: `wit/world.wit` says what its functions are, this file what they do.

Types come from the WIT: a record is a data class, a list a list, and a `result` returns its value or
raises `Err`.
"""

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.text import Counts, Hit


class Text(exports.Text):
    def measure(self, text: str) -> Counts:
        return Counts(
            lines=len(text.splitlines()),
            words=len(text.split()),
            bytes=len(text.encode()),
        )

    def find(self, text: str, phrase: str) -> list[Hit]:
        if not phrase:
            # Becomes a tool error: the caller sees the text, and a model can try again.
            raise Err("the phrase is empty")
        lines = enumerate(text.splitlines(), start=1)
        return [Hit(line=number, text=line) for number, line in lines if phrase in line]
