"""Many mutants in one build, of which a variable of the environment chooses one at run time."""

from collections import defaultdict

from proof.mutation.build import Tree
from proof.mutation.rules import Mutant

DECLARED = 'extern "C" __attribute__((visibility("default"))) int normkernels_mutant; '
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

    def drop(self, errors: set[tuple[str, int]]) -> None:
        """Those on lines that cannot be compiled: constants of the compiler, and other types."""
        for number, mutant in list(self.mutants.items()):
            begin, end, _ = mutant.switched("") or (0, 0, "")
            lines = range(
                mutant.text.count("\n", 0, begin) + 1, mutant.text.count("\n", 0, end) + 2
            )
            if any((mutant.file, line) in errors for line in lines):
                del self.mutants[number]

    def sift(self) -> None:
        """Leaves those that can be compiled together."""
        while self.mutants:
            with self.tree.broken(self.texts()):
                errors = self.tree.syntax_errors()
            before = len(self.mutants)
            self.drop(errors)
            print(f"{len(self.mutants)} of {before} mutants in one build", flush=True)
            if not errors:
                return
            if len(self.mutants) == before:
                raise SystemExit(f"errors where nothing is broken: {errors}")
