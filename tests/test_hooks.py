"""Arguments whose conversion runs code of the caller's: what it does to the other arguments, and
what comes out where it raises."""

import subprocess
import sys

import normkernels as nk
import numpy as np
import pytest
from conftest import same_bits
from good_calls import ARGUMENTS, CALLS, DY, GRADIENT, X, call, each_array

EVERY_SCALAR = [
    (name, argument)
    for name, arguments in ARGUMENTS.items()
    for argument in [*arguments, "num_threads"]
    if isinstance(arguments.get(argument, 0), (int, float))
]
each_scalar = pytest.mark.parametrize(("name", "argument"), EVERY_SCALAR)

# ---- Code that changes another argument


HOSTILE = """
import sys
import numpy as np
import normkernels as nk

hook = sys.argv[1]
keep = []

def reshape(a):
    a.shape = (a.size, 1)  # the same memory, and the same block of extents

def flatten(a):
    a.shape = (a.size,)  # frees the block of extents, and others take it
    keep.extend(np.empty((1, 1), np.float32) for _ in range(1000))

def shrink(a):
    a.resize((1, 1), refcheck=False)

def retype(a):
    a.dtype = np.int8

class Hook:
    change = True
    def __init__(self, which, value):
        self.which, self.value = which, value
    def run(self):
        if self.change:
            change(self.which)
        return self.value
    def __float__(self):
        return self.run()
    def __index__(self):
        return self.run()
    def __bool__(self):
        return self.run()

class ArrayHook(Hook):
    def __array__(self, dtype=None, copy=None):
        return self.run()

class DLPackHook(Hook):
    def __dlpack__(self, **keywords):
        return self.run().__dlpack__(**keywords)

class LookUpHook(Hook):
    def __getattr__(self, name):
        self.run()
        raise AttributeError(name)

class Pair(Hook):
    def __len__(self):
        return 2
    def __getitem__(self, i):
        self.run()
        return None

class Length(Pair):
    def __len__(self):
        self.run()
        return 2

row = np.ones(4096, np.float32)
means = np.ones(64, np.float32)
calls = {
    "epsilon": lambda a: nk.layer_norm(x, epsilon=Hook(a, 1e-5), out=out),
    "axis": lambda a: nk.layer_norm(x, axis=Hook(a, 1), out=out),
    "axes": lambda a: nk.layer_norm(x, axes=[Hook(a, 2), 1], out=out),
    "num_threads": lambda a: nk.layer_norm(x, num_threads=Hook(a, 1), out=out),
    "return_stats": lambda a: nk.layer_norm(x, return_stats=Hook(a, False), out=out),
    "gamma": lambda a: nk.layer_norm(x, ArrayHook(a, row), out=out),
    "beta by DLPack": lambda a: nk.layer_norm(x, row, DLPackHook(a, row), out=out),
    "beta by look-up": lambda a: nk.layer_norm(x, row, LookUpHook(a, None), out=out),
    "backward": lambda a: nk.layer_norm_backward(dy, x, means, ArrayHook(a, means), out=out),
    "size": lambda a: nk.local_response_norm(x, Hook(a, 3)),
    "alpha": lambda a: nk.local_response_norm_backward(dy, x, 3, alpha=Hook(a, 1e-4)),
    "out": lambda a: nk.layer_norm(x, out=ArrayHook(a, out)),
    "pair": lambda a: nk.instance_norm_with_gradient(x, None, None, dy, out=Pair(a, None)),
    "length": lambda a: nk.instance_norm_with_gradient(x, None, None, dy, out=Length(a, None)),
}
for change in (reshape, flatten, shrink, retype):
    for name in ("x", "dy", "out"):
        x, dy, out = (np.ones((64, 64, 64), np.float32) for _ in range(3))
        Hook.change = True
        try:
            result = calls[hook](globals()[name])
        except (TypeError, ValueError):
            continue
        Hook.change = False
        for y in result if isinstance(result, tuple) else [result]:
            if np.shape(y) not in ((64, 64, 64), (64, 64), (64,)) and y is not out:
                sys.exit(f"{name} was changed by {change.__name__}, and the result is {y.shape}")
"""
HOOKS = [
    *("epsilon", "axis", "axes", "num_threads", "return_stats", "gamma", "beta by DLPack"),
    *("beta by look-up", "backward", "size", "alpha", "out", "pair", "length"),
]


@pytest.mark.parametrize("hook", HOOKS)
def test_code_that_changes_another_argument(hook):
    """An error, or the result of what the caller passed; no memory but the result's is written."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-X", "faulthandler", "-c", HOSTILE, hook],
        timeout=60,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


class Reshapes:
    """A number, and a view of `array`, whose conversion gives `array` another shape."""

    def __init__(self, array, value):
        self._array, self._value = array, value

    def _convert(self, *_, **__):
        self._array.shape = (*self._array.shape, 1)
        return self._value

    __float__ = __index__ = __array__ = _convert


# NumPy 2.5 warns of what it does not prevent.
reshapes = pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning")


@reshapes
@each_scalar
def test_an_array_must_stay_as_it_is(name, argument):
    x = X.copy()
    hook = Reshapes(x, ARGUMENTS[name].get(argument, 1))
    with pytest.raises(ValueError, match=rf"^{name}: x had shape .*, must stay as it is"):
        call(name, x=x, **{argument: hook})


@reshapes
@each_array
def test_an_array_like_may_not_change_the_arrays(name, argument):
    for other in ("x", "dy"):
        if other == argument or other not in ARGUMENTS[name]:
            continue
        array = ARGUMENTS[name][other].copy()
        hook = Reshapes(array, ARGUMENTS[name][argument])
        with pytest.raises(ValueError, match=rf"^{name}: {other} had shape .*, must stay"):
            call(name, **{other: array, argument: hook})


# ---- Code that raises


class OwnError(Exception):
    pass


class OwnValueError(ValueError):
    pass


class Raises:
    """Raises in every conversion there is."""

    def __init__(self, error):
        self._error = error

    def _raise(self, *_, **__):
        raise self._error

    __index__ = __float__ = __bool__ = __array__ = __dlpack__ = _raise


class RaisesInLookUp(Raises):
    __array__ = property(Raises._raise)


class OnlyDLPack(Raises):
    __array__ = property(lambda self: self.missing)


PASSED_ON = [
    *(KeyboardInterrupt, MemoryError, RecursionError, ZeroDivisionError, OSError, StopIteration),
    *(OwnError, OwnValueError),
]


@pytest.mark.parametrize("kind", PASSED_ON)
@each_scalar
def test_errors_of_a_number_come_out_as_they_are(name, argument, kind):
    error = kind("its own")
    with pytest.raises(kind) as caught:
        call(name, **{argument: Raises(error)})
    assert caught.value is error


@pytest.mark.parametrize("kind", PASSED_ON)
def test_errors_of_flags_and_settings_come_out_as_they_are(kind):
    error = kind("its own")
    for function in (
        lambda hook: nk.layer_norm(X, return_stats=hook),
        lambda hook: nk.instance_norm(X, return_stats=hook),
        lambda hook: nk.local_response_norm(X, 3, return_scale=hook),
        nk.set_num_threads,
    ):
        with pytest.raises(kind) as caught:
            function(Raises(error))
        assert caught.value is error


@pytest.mark.parametrize("kind", PASSED_ON)
@pytest.mark.parametrize("how", [Raises, RaisesInLookUp, OnlyDLPack])
@each_array
def test_errors_of_an_array_come_out_as_they_are(name, argument, how, kind):
    error = kind("its own")
    with pytest.raises(kind) as caught:
        call(name, **{argument: how(error)})
    assert caught.value is error


def test_errors_of_out_come_out_as_they_are():
    class Pair:
        def __init__(self, length):
            self._length = length

        def __len__(self):
            return 2 if self._length else error.throw()

        def __getitem__(self, i):
            raise error

    class Error(Exception):
        def throw(self):
            raise self

    error = Error()
    for out in (Pair(True), Pair(False), (Raises(error), None), (None, Raises(error))):
        with pytest.raises(Error):
            call(GRADIENT, out=out)
    with pytest.raises(Error):
        nk.layer_norm(X, out=Raises(error))


@each_scalar
def test_a_type_error_is_the_cause_of_ours(name, argument):
    error = TypeError("no number")
    with pytest.raises(TypeError, match=rf"^{name}: {argument} is of type Raises, must ") as caught:
        call(name, **{argument: Raises(error)})
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("kind", [TypeError, ValueError, BufferError, RuntimeError])
@pytest.mark.parametrize("how", [Raises, OnlyDLPack])
@each_array
def test_the_reason_of_a_refusal_is_in_the_message(name, argument, how, kind):
    error = kind("cannot be exported: no CPU array\nand more")
    with pytest.raises(TypeError) as caught:
        call(name, **{argument: how(error)})
    message = str(caught.value)
    assert message.startswith(f"{name}: {argument} is of type {how.__name__} and cannot be viewed")
    assert "(cannot be exported: no CPU array), must be" in message
    assert caught.value.__cause__ is error


def test_what_is_beyond_the_range_of_a_number():
    for function in (lambda v: nk.layer_norm(X, epsilon=v), lambda v: call(LRN, alpha=v)):
        with pytest.raises(ValueError, match="is beyond the range of float64, must be ") as caught:
            function(10**400)
        assert isinstance(caught.value.__cause__, OverflowError)
    with pytest.raises(ValueError, match=r"axis is an integer of 33220 bits, must be between"):
        nk.layer_norm(X, axis=10**10000)
    with pytest.raises(TypeError, match=r"return_stats is of type numpy.ndarray, must be True"):
        nk.layer_norm(X, return_stats=np.ones(2))


LRN = "local_response_norm"


def test_messages_run_no_code_of_the_argument():
    class Number(float):
        def __str__(self):
            raise AssertionError

        __repr__ = __str__

    class Text(str):
        __slots__ = ()
        __str__ = __repr__ = Number.__str__

    with pytest.raises(ValueError, match=r"epsilon is -1\.0, must be"):
        nk.layer_norm(X, epsilon=Number(-1))
    with pytest.raises(ValueError, match="order is 'no', must be"):
        nk.instance_norm(X, order=Text("no"))
    with pytest.raises(ValueError, match="name is 'no', must be"):
        nk.force_isa(Text("no"))


@pytest.mark.parametrize("name", ["avx2\0junk", "avx2\0", "\0", "\ud800", "baseline\0"])
def test_names_that_no_c_string_can_say(name):
    before = nk.active_isa()
    with pytest.raises(ValueError, match=r"^force_isa: name is '.*', must be one of"):
        nk.force_isa(name)
    assert nk.active_isa() == before


def test_a_call_keeps_what_it_looks_at():
    """An array-like may hand out an array that nobody else holds."""

    class Temporary:
        def __array__(self, dtype=None, copy=None):
            return DY.copy()

    positional, _ = CALLS["layer_norm_backward"]
    expected = call("layer_norm_backward")[0]
    actual = call("layer_norm_backward", dy=Temporary(), x=positional["x"])[0]
    assert same_bits(actual, expected)
