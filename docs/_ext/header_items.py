"""What is in a header of C or C++: comments and declarations, in order.

`namespace detail` and deduction guides are left out. What is read is as clang-format leaves it:
each begins a line.
"""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

INCLUDE = Path(__file__).resolve().parents[2] / "csrc/include"

COMMENT = re.compile(r"/\*.*?\*/[^\n]*\n|(?:^//[^\n]*\n)+", re.S | re.M)
DETAIL = re.compile(r"^namespace detail \{.*?^\}  // namespace detail\n", re.S | re.M)
DEDUCTION_GUIDE = re.compile(r"^[A-Z]\w*\([^;{]*\)\s*-> \w+<", re.M)
NO_DECLARATION = re.compile(r"(#.*|extern \"C\" \{|(inline )?namespace \w+ \{|\}.*)?\n")


class Item(NamedTuple):
    """A comment, a declaration, or a declaration with the comment right above it."""

    comment: str
    declaration: str


def items(source: str) -> Iterator[Item]:
    """What is in a header, in order."""
    source = DETAIL.sub("", source)
    position, comment = 0, ""
    while position < len(source):
        if found := COMMENT.match(source, position) or NO_DECLARATION.match(source, position):
            if comment:
                yield Item(comment, "")
            comment = _text(found[0]) if found.re is COMMENT else ""
            position = found.end()
        else:
            declaration = _declaration(source[position:])
            if not DEDUCTION_GUIDE.search(declaration):
                yield Item(comment, declaration)
            position, comment = position + len(declaration), ""


def _text(comment: str) -> str:
    lines = re.sub(r"\s*\*/\s*$", "", comment).splitlines()
    body = [re.sub(r"^(///?|/\*\*?| \*) ?", "", line) for line in lines]
    if all(line.startswith(" ") or not line for line in body[1:]):
        body[1:] = textwrap.dedent("\n".join(body[1:])).splitlines()
    return "\n".join(line.rstrip() for line in body)


def _declaration(source: str) -> str:
    """From here to the semicolon or the closing brace that ends it, with the rest of its line."""
    depth = 0
    for end, character in enumerate(source):
        depth += (character in "{(") - (character in "})")
        if depth == 0 and (character == ";" or (character == "}" and source[end + 1] == "\n")):
            return source[: source.index("\n", end) + 1]
    raise ValueError(f"no end: {source[:80]}")


def described(declaration: str, language: str) -> tuple[str, str, str]:
    """The directive that describes a declaration, with what argument, and its public source."""
    source = re.sub(r"^NORMKERNELS_API\s+", "", declaration).strip()
    public = re.sub(r"\n private:\n.*?(?=\n\};)", "", source, flags=re.S)
    plain = re.sub(r"\[\[\w+\]\] | = \{\}", "", source)  # neither is anything that Sphinx reads
    head = " ".join(re.split(r"[{=]" if language == "c" else r"\{", plain, maxsplit=1)[0].split())
    head = head.rstrip(";").strip()
    if found := re.match(r"(template <.*?> )?(?:typedef )?(struct|class) (\w+)", head):
        return found[2], (found[1] or "") + found[3], public
    if head.startswith("enum"):
        return "", "", public
    if head.startswith("typedef"):
        return "type", head.removeprefix("typedef ").rpartition(" ")[2], public
    if re.match(r"(template <.*?> )?using ", head):
        return "type", re.sub(r"\busing ", "", head.split(" = ")[0]), public
    if "(" not in head or re.search(r"\bconstexpr\b", head):
        return "var", re.sub(r"\b(inline|constexpr) ", "", head.split(" = ")[0]), public
    return "function", re.sub(r"\b(static|inline) ", "", head), public
