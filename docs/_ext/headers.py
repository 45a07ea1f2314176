"""The directive `header`: the reference of a C or C++ header out of the header itself.

    .. header:: normkernels/normkernels.h

It is told in the order of the file. `---- Title ----` in a comment begins a section, a comment by
itself is text, and one right above a declaration is what is said about that. Of a function in C++
the C function that it calls is named.
"""

import re
import textwrap
from collections.abc import Iterator

from docutils import nodes
from header_items import INCLUDE, Item, described, items
from plain_text import to_rst
from sphinx.application import Sphinx
from sphinx.domains.c import CDomain
from sphinx.domains.cpp import CPPDomain
from sphinx.util.docutils import SphinxDirective


class Header(SphinxDirective):
    """`.. header:: <path in csrc/include>`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The nodes of the whole header."""
        path = INCLUDE / self.arguments[0]
        self.env.note_dependency(str(path))
        language = "c" if path.suffix == ".h" else "cpp"
        text = [f".. default-domain:: {language}", ""]
        if language == "cpp":
            text += [".. cpp:namespace:: normkernels", ""]
        text += [_rst(item, language) for item in items(path.read_text())]
        return self.parse_text_to_nodes("\n".join(text), allow_section_headings=True)


def _rst(item: Item, language: str) -> str:
    if title := re.fullmatch(r"-{3,} (.*?) -{3,}", item.comment):
        return f"\n{title[1]}\n{'-' * len(title[1])}\n"
    text = to_rst(item.comment)
    if not item.declaration:
        return text
    kind, name, source = described(item.declaration, language)
    if not kind:
        return f"{text}\n{_code(source, language)}"
    if kind in {"struct", "class"} or (kind == "type" and language == "cpp"):
        text += "\n" + _code(source, language)
    called = re.search(r"(?:return |run\(|step\(\S+,)\s*(normkernels_\w+)\b", source)
    if language == "cpp" and called:
        text += f"\nCalls :c:func:`{called[1]}`.\n"
    return f".. {language}:{kind}:: {name}\n\n{textwrap.indent(text, '   ')}\n"


def _code(source: str, language: str) -> str:
    return f".. code-block:: {language}\n\n{textwrap.indent(source, '   ')}\n"


class SearchedC(CDomain):
    """C of which the search finds functions and types, not each parameter of each function."""

    def get_objects(self) -> Iterator[tuple[str, str, str, str, str, int]]:
        """As in the class above, without parameters."""
        return (entry for entry in super().get_objects() if not entry[2].endswith("Param"))


class SearchedCPP(CPPDomain):
    """The same for C++."""

    def get_objects(self) -> Iterator[tuple[str, str, str, str, str, int]]:
        """As in the class above, without parameters."""
        return (entry for entry in super().get_objects() if not entry[2].endswith("Param"))


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    app.add_directive("header", Header)
    app.add_domain(SearchedC, override=True)
    app.add_domain(SearchedCPP, override=True)
    return {"parallel_read_safe": True}
