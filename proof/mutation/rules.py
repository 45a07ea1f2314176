"""What is broken, and how: each mutant replaces a piece of a file, found in Clang's syntax tree."""

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise
from pathlib import Path

from clang.cindex import Cursor, CursorKind as Kind, Index, TranslationUnit, TypeKind

SWAPS = """+ -  * /  % *  += -=  *= /=  << >>  & |  ^ |  &= |=  && ||  || &&  == !=  != =="""
OPERATORS = {a: [b] for a, b in re.findall(r"(\S+) (\S+)", SWAPS)}
OPERATORS |= {b: [a] for a, b in re.findall(r"(\S+) (\S+)", SWAPS) if b not in OPERATORS}
COMPARISONS = {"<": ["<=", ">="], "<=": ["<", ">"], ">": [">=", "<="], ">=": [">", "<"]}
PAIRS = """hi lo  min max  rows cols  begin end  low high  x y  dy dx  gamma beta  mean rstd
  low_halves high_halves  is_full is_empty  channels pixels  first last  images groups  near far"""
NAMES = {a: b for pair in re.findall(r"(\w+) (\w+)", PAIRS) for a, b in (pair, pair[::-1])}
INTRINSICS = [("unpacklo", "unpackhi"), ("cvtlo", "cvthi"), ("_min_", "_max_"), ("fmadd", "fmsub")]
COMMUTATIVE = re.compile(r"fma|multiply_add|two_sum|smaller|larger|min|max|_mm\w*_fn?m\w+")
ATOMIC = re.compile(r"(\.|->)(load|store|exchange|fetch_\w+|compare_exchange_\w+)$")

LEFT_OUT = "(void)0"

CALLS = {Kind.CALL_EXPR, Kind.INIT_LIST_EXPR}
BINARY = {Kind.BINARY_OPERATOR, Kind.COMPOUND_ASSIGNMENT_OPERATOR, Kind.CALL_EXPR}
STATEMENTS = {Kind.CALL_EXPR, Kind.BINARY_OPERATOR, Kind.COMPOUND_ASSIGNMENT_OPERATOR}
HOLDERS = {Kind.COMPOUND_STMT, Kind.IF_STMT, Kind.FOR_STMT, Kind.WHILE_STMT}
DECLARATIONS = {Kind.VAR_DECL, Kind.FIELD_DECL, Kind.PARM_DECL}
ARRAYS = {TypeKind.CONSTANTARRAY, TypeKind.DEPENDENTSIZEDARRAY}
REFERENCES = {Kind.DECL_REF_EXPR, Kind.MEMBER_REF_EXPR, Kind.OVERLOADED_DECL_REF}


@dataclass(frozen=True)
class Mutant:
    """One file with one piece replaced."""

    file: str  # below csrc/
    begin: int
    end: int
    new: str
    kind: str
    text: str  # of the file
    around: tuple[int, int]  # the expression; between the two that are exchanged, what stands there

    @property
    def folder(self) -> str:
        """The room of the house, or that of the table."""
        return self.file.split("/")[0] if "/" in self.file else "table"

    def apply(self) -> str:
        """The whole file, broken."""
        return self.text[: self.begin] + self.new + self.text[self.end :]

    def switched(self, broken: str) -> tuple[int, int, str] | None:
        """The edit that asks at run time which it is, or none; all lines stay where they are."""
        (first, last), text = self.around, self.text
        if self.kind == "order":
            a, b = text[self.begin : first], text[last : self.end]
            one = f"({broken} ? ({flat(b)}) : ({a}))"
            new = f"{one}{text[first:last]}({broken} ? ({flat(a)}) : ({b}))"
            return None if "#" in new or "//" in new else (self.begin, self.end, new)
        old = text[first:last]
        new = flat(text[first : self.begin] + self.new + text[self.end : last])
        old = f"(void)({old})" if new == LEFT_OUT else old
        return (
            None if "#" in new or "//" in new else (first, last, f"({broken} ? ({new}) : ({old}))")
        )

    @cached_property
    def key(self) -> tuple[str, str, str]:
        """The file, its line or lines, and the same broken: what stays the same when lines move."""
        begin = self.text.rfind("\n", 0, self.begin) + 1
        end = self.text.find("\n", self.end)
        broken = self.text[begin : self.begin] + self.new + self.text[self.end : end]
        return self.file, " ".join(self.text[begin:end].split()), " ".join(broken.split())


def span(cursor: Cursor) -> tuple[int, int]:
    """From where to where."""
    return cursor.extent.start.offset, cursor.extent.end.offset


def flat(text: str) -> str:
    """On one line."""
    return " ".join(text.split())


class File:
    """Text of a source file by the offsets that Clang counts: bytes, and all of csrc is ASCII."""

    def __init__(self, root: Path, path: Path):
        """Reads it; `root` is csrc."""
        self.name = str(path.relative_to(root))
        self.text = path.read_text(encoding="ascii")

    def of(self, cursor: Cursor) -> str:
        """What the cursor spans."""
        return self.text[cursor.extent.start.offset : cursor.extent.end.offset]

    def replace(self, kind: str, begin: int, end: int, new: str, around: tuple[int, int]) -> Mutant:
        """The mutant with that piece replaced, of an expression."""
        return Mutant(self.name, begin, end, new, kind, self.text, around)

    def replace_all_of(self, kind: str, cursor: Cursor, new: str) -> Mutant:
        """The mutant with what the cursor spans replaced."""
        return self.replace(kind, *span(cursor), new, span(cursor))


def literals(file: File, cursor: Cursor, _: list[Cursor]) -> Iterator[Mutant]:
    """Every constant a little different."""
    text = file.of(cursor)
    if cursor.kind == Kind.CXX_BOOL_LITERAL_EXPR:
        yield file.replace_all_of("constant", cursor, {"true": "false"}.get(text, "true"))
    elif cursor.kind == Kind.INTEGER_LITERAL and text[:1].isdigit():
        for new in [f"({text} + 1)"] + ([f"({text} - 1)"] if text != "0" else []):
            yield file.replace_all_of("constant", cursor, new)
    elif cursor.kind == Kind.FLOATING_LITERAL and text[:1].isdigit():
        suffix = "f" if text.endswith("f") else ""
        for factor in ("1.5", "1.0001"):
            yield file.replace_all_of("constant", cursor, f"({factor}{suffix} * {text})")


def operators(file: File, cursor: Cursor, children: list[Cursor]) -> Iterator[Mutant]:
    """Every operator another; the bounds of loops one less and one more."""
    if cursor.kind in BINARY and len(children) in (2, 3):
        begin, end = children[0].extent.end.offset, children[-1].extent.start.offset
        operator = file.text[begin:end].strip()
        at = file.text.find(operator, begin)
        for new in OPERATORS.get(operator, []):
            yield file.replace("operator", at, at + len(operator), new, span(cursor))
        for new in COMPARISONS.get(operator, []):
            yield file.replace("comparison", at, at + len(operator), new, span(cursor))
    elif cursor.kind == Kind.UNARY_OPERATOR:
        begin = cursor.extent.start.offset
        sign = file.text[begin : begin + 2]
        if sign in ("++", "--"):
            yield file.replace(
                "operator", begin, begin + 2, "--" if sign == "++" else "++", span(cursor)
            )
        elif sign[0] in "-!~":
            yield file.replace("operator", begin, begin + 1, "", span(cursor))
    elif cursor.kind == Kind.FOR_STMT:
        for child in children[:-1]:
            ends = list(child.get_children())
            if child.kind == Kind.BINARY_OPERATOR and len(ends) == 2:
                between = file.text[ends[0].extent.end.offset : ends[1].extent.start.offset]
                if between.strip() in COMPARISONS:
                    for new in (" - 1", " + 1"):
                        yield file.replace_all_of("loop", ends[1], file.of(ends[1]) + new)


def orders(file: File, cursor: Cursor, children: list[Cursor]) -> Iterator[Mutant]:
    """Neighbouring arguments exchanged; names and intrinsics that come in pairs; strides."""
    text = file.of(cursor)
    if cursor.kind in CALLS:
        listed = cursor.kind == Kind.INIT_LIST_EXPR
        arguments = children if listed else list(cursor.get_arguments()) or children[1:]
        # The factors of a product have no order.
        factors = children and COMMUTATIVE.fullmatch(file.of(children[0]))
        for a, b in list(pairwise(arguments))[1 if factors else 0 :]:
            first, second = file.of(a), file.of(b)
            begin, end = a.extent.start.offset, b.extent.end.offset
            between = file.text[a.extent.end.offset : b.extent.start.offset]
            same_type = a.type.get_canonical().spelling == b.type.get_canonical().spelling
            if first != second and between.strip() == "," and same_type:
                middle = (a.extent.end.offset, b.extent.start.offset)
                yield file.replace("order", begin, end, second + between + first, middle)
        name = file.of(children[0]) if children else ""
        for old, new in chain(INTRINSICS, ((b, a) for a, b in INTRINSICS)):
            if name.startswith("_mm") and old in name:  # the call: no function has their addresses
                begin, end = span(children[0])
                yield file.replace("lanes", begin, end, name.replace(old, new), span(cursor))
    elif cursor.kind in REFERENCES and re.fullmatch(r"[\w.>()-]+", text):
        name, end = re.split(r"\W", text)[-1], cursor.extent.end.offset
        begin = end - len(name)
        if name in NAMES:
            yield file.replace("name", begin, end, NAMES[name], span(cursor))
        if re.search(r"(^|_)(stride|step)$", name) and cursor.type.spelling.endswith("int64_t"):
            yield file.replace_all_of("stride", cursor, f"({text} + 1)")


def statements(file: File, cursor: Cursor, children: list[Cursor]) -> Iterator[Mutant]:
    """Every statement left out, every condition always and never true, atomics without an order."""
    text = file.of(cursor)
    if cursor.kind in HOLDERS:
        inside = children if cursor.kind == Kind.COMPOUND_STMT else children[-1:]
        for child in inside:
            if child.kind in STATEMENTS or file.of(child).startswith(("++", "--")):
                yield file.replace_all_of("left out", child, LEFT_OUT)
    if cursor.kind in (Kind.IF_STMT, Kind.CONDITIONAL_OPERATOR):
        condition = next(child for child in children if child.kind != Kind.DECL_STMT)
        for new in ("true", "false"):
            yield file.replace_all_of("condition", condition, new)
    called = file.of(children[0]) if cursor.kind == Kind.CALL_EXPR and children else ""
    if ATOMIC.search(called) and "memory_order" not in text:
        end = cursor.extent.end.offset - 1
        new = "std::memory_order_relaxed" if text.endswith("()") else ", std::memory_order_relaxed"
        yield file.replace("barrier", end, end, new, span(cursor))


RULES = (literals, operators, orders, statements)


class Walk:
    """Every mutant of the files below csrc that some source includes."""

    def __init__(self, csrc: Path, unbroken: dict[str, set[str]]):
        """Nothing yet."""
        self.csrc, self.unbroken = csrc, unbroken
        self.files: dict[str, File | None] = {}
        self.found: dict[tuple[str, int, int, str], Mutant] = {}

    def source(self, cursor: Cursor) -> File | None:
        """The file that the cursor stands in, if it is one of those to be broken."""
        if cursor.location.file is None:
            return None
        path = cursor.location.file.name
        if path not in self.files:
            inside = Path(path).is_relative_to(self.csrc)
            public = Path(path).is_relative_to(self.csrc / "include")
            self.files[path] = File(self.csrc, Path(path)) if inside and not public else None
        return self.files[path]

    def is_unbroken(self, cursor: Cursor) -> bool:
        """What changes no result, by its name: it is never broken."""
        if cursor.kind == Kind.STATIC_ASSERT:
            return True
        if cursor.kind == Kind.VAR_DECL:
            return cursor.spelling in self.unbroken["constants"]
        if cursor.kind == Kind.CALL_EXPR:
            child = next(cursor.get_children(), None)
            file = self.source(cursor)
            called = file.of(child) if child is not None and file else ""
            return called.split("<")[0] in self.unbroken["calls"]
        return False

    def visit(self, cursor: Cursor) -> None:
        """Collects the mutants of the cursor and of all below it."""
        file = self.source(cursor)
        if file is None:
            return
        inside = [child for child in cursor.get_children() if self.source(child) is file]
        children = [child for child in inside if not self.is_unbroken(child)]
        if cursor.kind in DECLARATIONS and cursor.type.kind in ARRAYS:
            # Not their sizes: what lies beyond an array is for the sanitizers.
            children = [child for child in children if child.kind == Kind.INIT_LIST_EXPR]
        for mutant in chain(*(rule(file, cursor, children) for rule in RULES)):
            self.found.setdefault((mutant.file, mutant.begin, mutant.end, mutant.new), mutant)
        for child in children:
            self.visit(child)


def parse(entry: dict[str, str], builtin: str) -> TranslationUnit:
    """A source by its line of the compilation database."""
    flags = [f for f in shlex.split(entry["command"]) if re.match("-[DIm]", f)]
    return Index.create().parse(
        entry["file"], args=[*flags, "-xc++", "-std=c++17", "-resource-dir", builtin]
    )


def all_mutants(csrc: Path, build: Path, unbroken: dict[str, set[str]]) -> list[Mutant]:
    """What there is to break, in the order of the files."""
    query = ["clang-14", "-print-resource-dir"]
    builtin = subprocess.run(query, check=True, capture_output=True, text=True).stdout.strip()
    walk = Walk(csrc, unbroken)
    for entry in json.loads((build / "compile_commands.json").read_text()):
        if not Path(entry["file"]).is_relative_to(csrc):
            continue
        unit = parse(entry, builtin)
        errors = [d for d in unit.diagnostics if d.severity >= d.Error]
        if errors:
            raise SystemExit(f"{entry['file']}: {errors[0]}")
        for cursor in unit.cursor.get_children():
            walk.visit(cursor)
        # What a header has was found; the next source need not look again.
        walk.files = dict.fromkeys(walk.files)
    return [walk.found[key] for key in sorted(walk.found)]
