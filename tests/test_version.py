"""The version: it stands in the C header, and everything else that says one says the same."""

import importlib.metadata
import re

import normkernels as nk
from embedding import ROOT
from packaging.version import Version


def numbers():
    return ".".join(nk.__version__.split(".")[:3])


def test_python_orders_it_as_it_is_written():
    version = Version(nk.__version__)
    assert str(version) == nk.__version__ == importlib.metadata.version("normkernels")
    assert version == Version(numbers()) or (version.is_devrelease and version < Version(numbers()))


def test_the_change_log_says_whether_it_is_released():
    title = re.search(r"^## (.*)", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)[1]
    assert title == numbers() + " (unreleased)" * Version(nk.__version__).is_devrelease


def test_the_crate_has_its_numbers():
    cargo = (ROOT / "examples/embed/rust/Cargo.toml").read_text()
    assert re.search(r'^version = "(.*)"', cargo, flags=re.M)[1] == numbers()
