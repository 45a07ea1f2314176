"""How the functions take their arguments: as Python's own do, to the word, and keeping none."""

import gc
import inspect
import pickle
import sys
import threading
import time

import normkernels as nk
import numpy as np
import pytest
from good_calls import CALLS, DY, GRADIENT, ROW, X, all_same, call, each_operator
from normkernels import helpers

FUNCTIONS = {
    f"{prefix}{name}": getattr(module, name)
    for prefix, module in (("", nk), ("helpers.", helpers))
    for name in module.__all__
    if inspect.isbuiltin(getattr(module, name))
}
each_function = pytest.mark.parametrize("name", FUNCTIONS)


def outputs(result):
    return [result] if isinstance(result, np.ndarray) else list(result)


def python_twin(function):
    """A function of Python with the same name and signature, that returns its arguments."""
    scope = {}
    text = str(inspect.signature(function))
    exec(f"def {function.__name__}{text}: return locals()", scope)
    return scope[function.__name__]


def at_run_time(keywords):
    """The same names as objects of their own: not those that the interpreter shares."""
    return {"".join(list(name)): value for name, value in keywords.items()}


# ---- Signatures


@each_function
def test_functions_are_known_by_name(name):
    function = FUNCTIONS[name]
    assert name in {function.__name__, f"helpers.{function.__name__}"}
    assert function.__module__.startswith("normkernels.")
    assert pickle.loads(pickle.dumps(function)) is function


@each_operator
def test_defaults_are_those_of_the_signature(name):
    positional, _ = CALLS[name]
    required = {
        p.name: positional[p.name]
        for p in inspect.signature(FUNCTIONS[name]).parameters.values()
        if p.default is p.empty
    }
    explicit = python_twin(FUNCTIONS[name])(**required)
    result = FUNCTIONS[name](*required.values())
    assert all_same(outputs(result), outputs(FUNCTIONS[name](**explicit)))


# ---- Calls that fit


@each_operator
def test_arguments_by_position_and_by_keyword_in_any_order(name):
    positional, keywords = CALLS[name]
    expected = call(name)
    values = {**positional, **keywords}
    for split in range(len(positional) + 1):
        by_position = list(positional.values())[:split]
        by_keyword = dict(reversed(list(values.items())[split:]))
        for names in (by_keyword, at_run_time(by_keyword)):
            assert all_same(outputs(FUNCTIONS[name](*by_position, **names)), expected)


# ---- Calls that do not


def bad_calls(function):
    parameters = inspect.signature(function).parameters.values()
    by_position = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    required = [p.name for p in parameters if p.default is p.empty]
    good = (X,) * len(required)
    yield (X,) * (len(by_position) + 1), {}
    yield (X,) * 20, {}
    yield good, {"other": 1}
    yield good, {"": 1}
    yield good, {"\u00e9\u20ac": 1}
    yield (*good, *(X,) * (len(by_position) - len(good) + 1)), {"other": 1}
    if required:
        yield (), {}
        yield good[:-1], {}
        yield (), {required[-1] + "_": X}
        yield (), {required[-1]: X} if len(required) > 1 else {"other": X}
        yield good, {required[0]: X}
        yield good, {required[-1]: X}


@each_function
def test_calls_that_do_not_fit_are_refused_in_pythons_words(name):
    function, twin = FUNCTIONS[name], python_twin(FUNCTIONS[name])
    for arguments, keywords in bad_calls(function):
        with pytest.raises(TypeError) as expected:
            twin(*arguments, **keywords)
        for names in (keywords, at_run_time(keywords)):
            with pytest.raises(TypeError) as caught:
                function(*arguments, **names)
            assert str(caught.value) == str(expected.value)
            assert caught.value.__cause__ is caught.value.__context__ is None
    with pytest.raises(TypeError, match="keywords must be strings"):
        function(**{1: X})


# By function what others call an argument, and what is said then.
OTHER_NAMES = {
    "layer_norm": {
        "eps": "it is called epsilon",
        "weight": "it is called gamma",
        "bias": "it is called beta",
        "dim": "it is called axis",
        "normalized_shape": "axis says where the normalised dimensions begin",
        "input": "it is called x",
        "Scale": "it is called gamma",
        "B": "it is called beta",
    },
    "layer_norm_backward": {
        "grad_output": "it is called dy",
        "rstd": "sigma is 1 / rstd",
    },
    "rms_norm": {"eps": "it is called epsilon", "scale": "it is called gamma"},
    "add_layer_norm": {"skip": "it is called residual", "weight": "it is called gamma"},
    "instance_norm": {"weight": "it is called scale", "B": "it is called bias"},
    "instance_norm_backward": {"rstd": "it is called inv_std", "gamma": "it is called scale"},
    "group_norm": {
        "num_groups": "it is called groups",
        "weight": "it is called scale",
        "beta": "it is called bias",
    },
    "local_response_norm": {"k": "it is called bias", "X": "it is called x"},
}


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_other_names_of_arguments_are_explained(name):
    for theirs, said in OTHER_NAMES[name].items():
        expected = f"{name}() got an unexpected keyword argument '{theirs}'; {said}"
        for keywords in ({theirs: 1}, at_run_time({"num_threads": 1, theirs: 1})):
            with pytest.raises(TypeError) as caught:
                FUNCTIONS[name](X, **keywords)
            assert str(caught.value) == expected


@pytest.mark.parametrize("name", ["local_response_norm", "local_response_norm_backward"])
def test_names_that_mean_something_else_are_not_explained(name):
    for theirs in ("weight", "gamma", "eps", "dim", "normalized_shape", "num_groups", "B"):
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{theirs}'$"):
            FUNCTIONS[name](X, **{theirs: 1})


def test_what_python_refuses_first_is_said_first():
    with pytest.raises(TypeError, match=r"multiple values for argument 'x'$"):
        nk.layer_norm(X, x=X, eps=1e-5)
    with pytest.raises(TypeError, match=r"'eps'; it is called epsilon$"):
        nk.layer_norm(X, eps=1e-5, x=X)


def test_refused_before_anything_is_written():
    out = np.zeros_like(X)
    with pytest.raises(TypeError, match="unexpected keyword argument 'epsilom'"):
        nk.layer_norm(X, epsilom=1e-5, out=out)
    assert not out.any()


# ---- What a call holds on to


@each_operator
def test_references_are_given_back(name):
    positional, keywords = CALLS[name]
    values = {**positional, **keywords, "num_threads": 2**20 + 1}
    values["out"] = (np.zeros_like(X), np.zeros_like(X)) if name == GRADIENT else np.zeros_like(X)
    extras = [b"order", X.astype(X.dtype.newbyteorder()), np.zeros(1)]
    watched = [*values.values(), *extras, X.dtype, None]

    def counts():
        gc.collect()
        return [sys.getrefcount(value) for value in watched]

    def calls():
        out = values["out"][0] if name == GRADIENT else values["out"]
        assert outputs(FUNCTIONS[name](**values))[0] is out
        FUNCTIONS[name](**{**values, "x": extras[1], "out": None})
        for bad in ({"x": extras[0]}, {"x": extras[2]}, {"other": X}, {"out": extras[2]}):
            with pytest.raises((TypeError, ValueError)):
                FUNCTIONS[name](**{**values, **bad})
        with pytest.raises(TypeError):
            FUNCTIONS[name](X, **values)

    def change(rounds):
        before = counts()
        for _ in range(rounds):
            calls()
        return [now - then for now, then in zip(counts(), before, strict=True)]

    # None and dtypes are shared with all of the interpreter, where caches grow and are emptied now
    # and then. A leak (or a reference too few) is one in every round of every repetition.
    repetitions = np.array([change(100) for _ in range(5)])
    leaked = np.abs(repetitions).min(axis=0) >= 100
    assert not leaked.any(), repetitions[:, leaked]


def test_results_are_held_by_the_caller_alone():
    own = np.zeros(3)
    y, mean, sigma = nk.layer_norm(X, return_stats=True)
    gradient = nk.layer_norm_backward(DY, X, mean, sigma, ROW)
    assert type(gradient) is nk.LayerNormGradient
    assert len({sys.getrefcount(value) for value in (own, y, mean, sigma, gradient)}) == 1
    dx, dgamma, dbeta = gradient
    del gradient
    assert len({sys.getrefcount(value) for value in (own, dx, dgamma, dbeta)}) == 1
    assert all(array.flags.owndata and array.base is None for array in (y, dx, dgamma, dbeta))


def lrn():
    x = np.ones((1, 64, 512, 512), np.float32)
    return lambda: nk.local_response_norm(x, 9, beta=0.6, out=np.empty_like(x), num_threads=1)


def statistics_of_nothing():
    """x has no elements, but mean and sigma have many."""
    x = np.empty((2**24, 0), np.float32)
    return lambda: nk.layer_norm(x, return_stats=True)


def gradient_of_nothing():
    x, each_row = np.empty((0, 2**24), np.float32), np.empty((0, 1), np.float32)
    return lambda: nk.layer_norm_backward(x, x, each_row, each_row)


@pytest.mark.parametrize("make", [lrn, statistics_of_nothing, gradient_of_nothing])
def test_other_threads_run_beside_a_large_kernel(make):
    """The GIL is free meanwhile: nothing else would let the main thread go on.

    No lock is waited for: one of a free-threaded Python spins before it wakes its waiter."""
    function = make()
    begun, done, seen = [], [], 0

    def work():
        begun.append(True)
        function()
        done.append(True)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)  # nobody is made to give the GIL up
    try:
        thread = threading.Thread(target=work)
        thread.start()
        while not begun:
            time.sleep(0)
        while not done:
            time.sleep(0.001)
            seen += 1
    finally:
        sys.setswitchinterval(interval)
    thread.join()
    assert seen > 3
