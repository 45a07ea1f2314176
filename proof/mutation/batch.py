"""Many mutants in one build, of which a variable of the environment chooses one at run time."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from proof.mutation.build import Place, Tree
from proof.mutation.rules import Mutant

DECLARED = """extern "C" {
extern __attribute__((visibility("default"))) int normkernels_mutant, normkernels_reached[];
}
#line 1
"""
# The array is whole pages, in place of which come those of a file: what is forked or killed writes
# there, too.
# The constructor comes before those of constants that are computed, since a mutant is in them.
# Tests begin processes of their own without the variables that begin as ours do: these do not.
DEFINED = """
#include <fcntl.h>
#include <sys/mman.h>
int normkernels_mutant = 0;
alignas(4096) int normkernels_reached[%d] = {};
__attribute__((constructor(101))) static void choose_mutant() {
  const char* const text = getenv("MUTANT_CHOSEN");
  normkernels_mutant = text == nullptr ? 0 : atoi(text);
  const char* const name = getenv("MUTANTS_REACHED");
  if (name == nullptr) return;
  const int file = open(name, O_RDWR);
  mmap(normkernels_reached, sizeof(normkernels_reached), PROT_READ | PROT_WRITE,
       MAP_SHARED | MAP_FIXED, file, 0);
}
"""
PAGE = 1024  # numbers
HOLDER = "host/isa.cpp"  # compiled once


def chosen(number: int) -> str:
    """Whether the mutant is that of this run; that it was asked is written down."""
    return f"(normkernels_reached[{number}] = 1, normkernels_mutant == {number})"


class Batch:
    """Mutants whose pieces do not overlap, by their numbers."""

    def __init__(self, tree: Tree, mutants: list[Mutant]):
        """As many as go together."""
        self.tree = tree
        self.mutants: dict[int, Mutant] = {}
        self.size = (len(mutants) // PAGE + 1) * PAGE
        taken: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for number, mutant in enumerate(mutants, 1):
            edit = mutant.switched(chosen(number))
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
            if (edit := mutant.switched(chosen(number)))
        ]
        for _, name, (begin, end, new) in sorted(edits, reverse=True):
            texts[name] = texts[name][:begin] + new + texts[name][end:]
        texts[HOLDER] += DEFINED % self.size
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
