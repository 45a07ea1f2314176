"""From the plain text of docstrings and of the headers' comments to reStructuredText.

`name`                        is code
lines of four spaces or more  are a block of code
name   what it is             is a row of a table, which goes on in the lines further in
- text                        is an item of a list
>>> code                      is an example, up to the next empty line
"""

import re
import textwrap

# The first column of a table: a name or several, or a few words; and what is a name for certain.
TERM = re.compile(r"[^\s=+/;]+( [^\s=+/;]+){0,6}")
NAMES = re.compile(r"\w+(, \w+)*")


def to_rst(text: str) -> str:
    """The text of a comment or docstring, without its comment signs and with no indentation."""
    blocks: list[str] = []
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        if blocks and _is_code(blocks[-1]) and _is_code(block):
            blocks[-1] += f"\n\n{block}"
        else:
            blocks.append(block)
    return "\n\n".join(_block(block) for block in blocks) + "\n"


def _is_code(block: str) -> bool:
    return all(re.match(" {4}|$", line) for line in block.splitlines())


def _block(block: str) -> str:
    if not block.strip():
        return ""
    if _is_code(block):
        return "::\n\n" + textwrap.indent(textwrap.dedent(block), "    ")
    block = textwrap.dedent(block)
    if block.startswith(">>> "):
        return block
    if rows := _rows(block):
        return _table(rows)
    if not re.search("^- ", block, flags=re.M):
        block = re.sub("^ +", "", block, flags=re.M)
    return "\n".join(_inline(line) for line in _separated(block))


def _rows(block: str) -> list[tuple[str, str]]:
    """The rows of a table; none if the block is not one."""
    rows: list[tuple[str, str]] = []
    lines = block.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith(" ") and rows:
            rows[-1] = (rows[-1][0], f"{rows[-1][1]} {line.strip()}".strip())
            continue
        columns = re.split(r" {2,}", line)
        if len(columns) < 2 and following.startswith(" "):
            columns.append("")
        if len(columns) < 2 or not TERM.fullmatch(columns[0]):
            return []
        # A line may hold two rows; what is no name goes on with the sentence before.
        while len(columns) > 3 and NAMES.fullmatch(columns[2]):
            rows.append((columns[0], columns[1]))
            columns = columns[2:]
        rows.append((columns[0], " ".join(columns[1:])))
    return rows if re.search(r"^\S.*?\S {2}", block, flags=re.M) else []


def _table(rows: list[tuple[str, str]]) -> str:
    lines = [".. list-table::", "   :class: parameters", "   :widths: auto", ""]
    for names, text in rows:
        is_code = NAMES.fullmatch(names) and (names.islower() or "_" in names or len(names) < 3)
        term = f"``{names}``" if is_code else _inline(names)
        lines += [f"   * - {term}", f"     - {_inline(text)}"]
    return "\n".join(lines)


def _separated(block: str) -> list[str]:
    """The lines of a paragraph, with an empty one before a list that follows its first words."""
    lines: list[str] = []
    for line in block.splitlines():
        if line.startswith("- ") and lines and not lines[-1].lstrip().startswith("- "):
            in_list = any(previous.startswith("- ") for previous in lines)
            lines += [] if in_list else [""]
        lines.append(line)
    return lines


def _inline(line: str) -> str:
    """A line in which nothing has a meaning but what is between backticks."""
    parts = re.split(r"`+([^`]+)`+", line)
    for i, part in enumerate(parts):
        if i % 2:
            parts[i] = f"\\ ``{part}``\\ "
        else:
            parts[i] = re.sub(r"([\\*|_])", r"\\\1", part)
    return "".join(parts)
