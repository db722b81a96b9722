"""A command-line tool: it reads text on stdin and prints its most frequent words; the first argument
says how many (10 by default).
"""

import re
import sys
from collections import Counter

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import environment


class Run(exports.Run):
    def run(self) -> None:
        arguments = environment.get_arguments()[1:]
        try:
            most = int(arguments[0]) if arguments else 10
        except ValueError as error:
            print(f"how many words? {error}", file=sys.stderr)
            # The exit code becomes 1.
            raise Err(None) from error
        counts = Counter(word for line in sys.stdin for word in re.findall(r"\w+", line.lower()))
        # Words of the same frequency in alphabetical order.
        words = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        for word, count in words[:most]:
            print(f"{count}\t{word}")
