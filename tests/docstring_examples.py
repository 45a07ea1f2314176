"""Runs the examples of a docstring."""

import doctest
import inspect


def functions_of(module):
    """The public functions of a module, by name: no classes, no constants."""
    public = {name: getattr(module, name) for name in module.__all__}
    return {name: f for name, f in public.items() if inspect.isroutine(f)}


def run_examples(function, scope):
    """All examples of the function's docstring must print what they say; there must be one."""
    test = doctest.DocTestParser().get_doctest(
        inspect.getdoc(function), dict(scope), function.__name__, None, None
    )
    assert test.examples, f"{function.__name__}: no example"
    said = []
    failed, _ = doctest.DocTestRunner().run(test, out=said.append)
    assert not failed, "".join(said)
