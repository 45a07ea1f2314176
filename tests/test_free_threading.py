"""Many threads at once, on arrays and lists that they share: bits, messages, references; what they
register and import at once. With or without the GIL, whose switches come often here.
"""

import gc
import random
import sys
import threading

import ml_dtypes
import normkernels as nk
import numpy as np
import pytest
from conftest import normal
from good_calls import CALLS, DY, GRADIENT, ROW, X
from normkernels import operators
from scenes import run

THREADS = 8


@pytest.fixture(autouse=True)
def frequent_switches():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def in_threads(work):
    """Runs work(number) in threads that begin together; their errors come out."""
    start, errors = threading.Barrier(THREADS), []

    def begin(number):
        start.wait()
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert not any(thread.is_alive() for thread in threads)
    if errors:
        raise errors[0]


def outcome(function, positional, keywords):
    """The bits of all outputs, or what the error says."""
    try:
        result = function(*positional, **keywords)
    except (TypeError, ValueError) as error:
        return type(error), str(error)
    result = result if isinstance(result, tuple) else (result,)
    return [(array.dtype, array.shape, array.tobytes()) for array in result]


class Like:
    """A view of an array, and a number."""

    def __init__(self, value):
        self._value = value

    def __array__(self, dtype=None, copy=None):
        return self._value

    def __index__(self):
        return self._value


AXES = [1, Like(2)]  # a list, which is converted in every call
WRONG = {
    "gamma": np.ones(5, np.float32),
    "scale": np.ones((3, 1, 1), np.int16),
    "axis": 7,
    "order": "NCHW\xe9",
    "epsilon": float("nan"),
    "num_threads": -1,
    "weight": ROW,
    "x": np.ma.masked_array(X),
}


def shared_calls():
    """Of every operator, by objects that all calls share: good ones, and each spoiled."""
    large = normal((8, 12, 256), np.float32)  # a call that gives the GIL back
    calls = [
        (nk.layer_norm, [large, large[0]], {"num_threads": 2}),
        (nk.layer_norm, [X.T, ROW.T], {"axes": [0, 1], "return_stats": True}),
        (nk.layer_norm, [X.astype(ml_dtypes.bfloat16), ROW], {"axes": AXES}),
        (nk.rms_norm, [Like(X)], {"axis": Like(1)}),
        (nk.moments, [DY], {"axes": AXES}),
        (nk.helpers.compute_moments, [X], {}),
    ]
    for name, (positional, keywords) in CALLS.items():
        function, arguments = getattr(nk, name), list(positional.values())
        out = {"out": [None, None]} if name == GRADIENT else {}
        calls.append((function, arguments, keywords | out))
        wrong = [{key: value} for key, value in WRONG.items() if key not in positional]
        calls += [(function, arguments, keywords | change) for change in wrong]
        calls.append((function, [WRONG["x"], *arguments[1:]], keywords))
    return calls


def test_calls_that_share_their_arguments():
    calls = shared_calls()
    wanted = [outcome(*call) for call in calls]
    values = [X, DY, ROW, AXES, AXES[1]]
    for _, positional, keywords in calls:
        values += [positional, *positional, keywords, *keywords.values()]
    # Numbers and strings are the whole process's; types, immortal once threads start without a GIL.
    shared = [value for value in values if isinstance(value, (np.ndarray, list, dict, Like))]
    assert len(shared) > len(calls)

    def work(number):
        generator = random.Random(number)
        for _ in range(300):
            which = generator.randrange(len(calls))
            assert outcome(*calls[which]) == wanted[which], calls[which]

    def references():
        gc.collect()
        return [sys.getrefcount(value) for value in shared]

    before = references()
    in_threads(work)
    leaked = np.abs(np.subtract(references(), before)) >= THREADS
    assert not leaked.any(), [shared[i] for i in np.flatnonzero(leaked)]


def test_a_list_that_changes_meanwhile():
    """Each call sees some state of it."""
    axes, out = [1], [None, None]
    wanted = {nk.moments(X, axes=a).tobytes() for a in ([1], [1, 2])}

    def work(number):
        for _ in range(300):
            if number == 0:
                axes.append(2)
                axes.pop()
            else:
                assert nk.moments(X, axes=axes).tobytes() in wanted
                nk.instance_norm_with_gradient(X, None, None, DY, out=out)

    in_threads(work)


def test_a_name_is_registered_once(own_registry):
    schema = operators.OperatorSchema(
        "y = -x", (operators.Input("x", "Any."),), (operators.Output("y", "Of x's shape."),)
    )
    registered = []

    def work(number):
        for i in range(100):
            name = f"Own{i}"
            try:
                operators.register_cpu_operator(name, schema=schema, run=lambda x, out: -x)
                registered.append(name)
            except ValueError:
                pass
            try:
                operators.register_gradient(name, None)
                registered.append(f"gradient of {name}")
            except ValueError:
                pass
            with pytest.raises(operators.UnknownNameError):
                operators.schema("NoSuchOperator")

    in_threads(work)
    assert len(registered) == len(set(registered)) == 200


def test_an_import_of_a_module_beside_that_of_the_package():
    scene = """
import sys, threading, numpy
sys.setswitchinterval(1e-6)
start, errors = threading.Barrier(12), []
def first(name):
    start.wait()
    try:
        __import__(name)
        sys.modules["normkernels"].helpers.compute_moments
    except Exception as error:
        errors.append(repr(error))
names = ["normkernels", "normkernels.helpers", "normkernels.operators"] * 4
threads = [threading.Thread(target=first, args=(name,)) for name in names]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(*errors)
if hasattr(sys, "_is_gil_enabled"):
    import sysconfig
    assert sys._is_gil_enabled() != bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
"""
    for _ in range(3):
        assert run(scene, prelude="") == []


def test_helpers_is_there_before_an_import_has_set_it(monkeypatch):
    """The attribute comes after the module is in sys.modules."""
    helpers = nk.helpers
    monkeypatch.delattr(nk, "helpers")
    assert nk.helpers is helpers
