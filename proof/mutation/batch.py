"""Many mutants in one build, of which a variable of the environment chooses one at run time."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from proof.mutation.build import Place, Tree
from proof.mutation.rules import Mutant

DECLARED = 'extern "C" __attribute__((visibility("default"))) int normkernels_mutant;\n#line 1\n'
DEFINED = """
int normkernels_mutant = 0;
__attribute__((constructor)) static void choose_mutant() {
  const char* const text = getenv("NORMKERNELS_MUTANT");
  normkernels_mutant = text == nullptr ? 0 : atoi(text);
}
"""
HOLDER = "host/isa.cpp"  # compiled once


class Batch:
    """Mutants whose pieces do not overlap, by their numbers."""

    def __init__(self, tree: Tree, mutants: list[Mutant]):
        """As many as go together."""
        self.tree = tree
        self.mutants: dict[int, Mutant] = {}
        taken: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for number, mutant in enumerate(mutants, 1):
            edit = mutant.switched(f"normkernels_mutant == {number}")
            places = taken[mutant.file]
            if edit and all(edit[1] <= begin or end <= edit[0] for begin, end in places):
                places.append(edit[:2])
                self.mutants[number] = mutant

    def texts(self) -> dict[str, str]:
        """The files with all of them."""
        holder = (self.tree.root / "csrc" / HOLDER).read_text(encoding="ascii")
        texts = {HOLDER: holder} | {m.file: m.text for m in self.mutants.values()}
        edits = [
            (edit[0], mutant.file, edit)
            for number, mutant in self.mutants.items()
            if (edit := mutant.switched(f"normkernels_mutant == {number}"))
        ]
        for _, name, (begin, end, new) in sorted(edits, reverse=True):
            texts[name] = texts[name][:begin] + new + texts[name][end:]
        texts[HOLDER] += DEFINED
        return {name: DECLARED + text for name, text in texts.items()}

    def drop(self, errors: set[Place]) -> None:
        """Those on lines that cannot be compiled: constants, and other types."""
        before = len(self.mutants)
        places = [(*self.lines(mutant), number) for number, mutant in self.mutants.items()]
        wrong = {
            n for name, a, b, n in places for file, at in errors if name == file and a <= at <= b
        }
        if not wrong:  # a list of constants is at fault where it ends
            above = [[p for p in sorted(places) if p[0] == e[0] and p[2] < e[1]] for e in errors]
            wrong = {found[-1][3] for found in above if found}
        if not wrong:
            raise SystemExit(f"errors where nothing is broken: {errors}")
        self.mutants = {n: m for n, m in self.mutants.items() if n not in wrong}
        print(f"{len(self.mutants)} of {before} mutants in one build", flush=True)

    @staticmethod
    def lines(mutant: Mutant) -> tuple[str, int, int]:
        """The file, the first and the last line of its edit."""
        edit = mutant.switched("") or (0, 0, "")
        first, last = (mutant.text.count("\n", 0, place) + 1 for place in edit[:2])
        return mutant.file, first, last

    def sift(self) -> None:
        """Leaves those that can be compiled together."""
        commands: set[str] = set()
        while True:
            with self.tree.broken(self.texts()):
                errors = self.tree.syntax_errors(commands)
            if not errors:
                return
            self.drop(set().union(*errors.values()))
            commands = set(errors)

    @contextmanager
    def built(self) -> Iterator[None]:
        """While the tree has all of them, and what of it was built."""
        self.sift()
        while True:
            with self.tree.broken(self.texts()):
                errors = self.tree.built()
                if errors is None:
                    yield
                    return
            self.drop(errors)
