#!/usr/bin/env python3
"""What is delivered: file lists of source distribution and wheel, tags, and sizes.

.ci/check_dist.py FOLDER    with one sdist and wheels of it: prints a table, fails if one is amiss
"""

import hashlib
import json
import re
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MOST_SDIST_BYTES = 1_000_000
NEEDED = re.compile(r"(csrc|cmake|python|tests|bench|examples|docs|packaging|proof)/.*")
TOP = {
    *("CHANGELOG.md", "CMakeLists.txt", "CMakePresets.json", "CONTRIBUTING.md"),
    *("LICENSE", "README.md", "SECURITY.md", "pyproject.toml", "PKG-INFO"),
    *(".clang-format", ".clang-tidy"),
}
UNWANTED = re.compile(r".*(\.svg|\.png|\.pyc|\.so|\.o)")
SBOM = ".dist-info/sboms/normkernels.cdx.json"
PACKAGE = re.compile(r"normkernels/.*\.(pyi?|typed|h|hpp|cmake|pc|so)")


def check_sdist(path: Path) -> None:
    """All sources, and nothing that is large or was built."""
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    amiss = {n for n in names - TOP if not NEEDED.fullmatch(n) or UNWANTED.fullmatch(n)}
    source = {str(p.relative_to(ROOT)) for p in (ROOT / "csrc").rglob("*") if p.is_file()}
    missing = (TOP | source) - names
    if amiss or missing:
        sys.exit(f"{path.name}: not expected {sorted(amiss)}, missing {sorted(missing)}")
    if path.stat().st_size > MOST_SDIST_BYTES:
        sys.exit(f"{path.name}: {path.stat().st_size} bytes, {MOST_SDIST_BYTES} are allowed")


def check_wheel(path: Path) -> None:
    """The package, its module and its library, for an old glibc; what zig linked in is listed."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        parts = json.loads(archive.read(next(n for n in names if n.endswith(SBOM))))["components"]
    files = [n for n in names if not n.endswith("/") and ".dist-info/" not in n]
    amiss = [n for n in files if not PACKAGE.fullmatch(n)]
    if {part["name"] for part in parts} != {"pybind11", "libc++", "libc++abi"}:
        sys.exit(f"{path.name}: says that it contains {parts}")
    libraries = [n for n in names if n.endswith(".so")]
    if amiss or len(libraries) != 2:
        sys.exit(f"{path.name}: not expected {amiss}, libraries {libraries}")
    if "manylinux_2_17" not in path.name:
        sys.exit(f"{path.name}: not of manylinux_2_17")


def main() -> None:
    """Checks every file of the folder."""
    files = sorted(Path(sys.argv[1]).iterdir())
    for path in files:
        (check_sdist if path.name.endswith(".tar.gz") else check_wheel)(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        print(f"{path.stat().st_size:>9,}  {digest[:16]}  {path.name}")


if __name__ == "__main__":
    main()
