"""The documentation site: `sphinx-build -W docs build/docs`."""

import sys
from pathlib import Path

import normkernels
from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
from plain_text import to_rst

project = "normkernels"
author = copyright = "the normkernels authors"
version = release = normkernels.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton", "headers"]
exclude_patterns = ["_ext"]

html_theme = "furo"
html_title = f"normkernels {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
smartquotes = False
pygments_style = "friendly"
pygments_dark_style = "monokai"

myst_enable_extensions = ["fieldlist"]
myst_heading_anchors = 3
copybutton_exclude = ".linenos, .gp, .go"  # of examples their code, without prompts and results

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_type_aliases = {"ArrayLike": "ArrayLike"}
maximum_signature_line_length = 90
toc_object_entries_show_parents = "hide"


def setup(app: Sphinx) -> None:
    """Docstrings are plain text, as the comments of the headers."""

    def convert(
        _app: Sphinx, _what: str, _name: str, _object: object, _options: object, lines: list[str]
    ) -> None:
        lines[:] = to_rst("\n".join(lines)).splitlines()

    app.connect("autodoc-process-docstring", convert)
