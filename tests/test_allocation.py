"""No memory: each allocation of a call is made to fail in turn, that of Python, NumPy and C++."""

import subprocess
import sysconfig
from pathlib import Path

import pytest
from good_calls import CALLS
from scenes import run

HERE = Path(__file__).parent
SCENE = """
sys.path.append(sys.argv[1])
from good_calls import ARGUMENTS, GRADIENT
from views import columns

library = ctypes.PyDLL(os.environ["LD_PRELOAD"])
library.call_failing.argtypes = ctypes.py_object, ctypes.c_long, ctypes.c_int
library.call_failing.restype = ctypes.py_object
library.blocks_now.restype = ctypes.c_long
name, ways = sys.argv[2], {
    "plain": lambda a: a,
    "strided": columns,
    "copied": lambda a: a.astype(a.dtype.newbyteorder()),
    "float16": lambda a: a.astype(np.float16),
}

def larger(key, value):
    "As in good_calls.py, but of more columns: with a workspace that is no longer small."
    if not isinstance(value, np.ndarray):
        return value
    repeats = {(2, 3, 4): (2, 3, 400), (3, 4): (3, 400)}
    return np.resize(value, repeats.get(value.shape, value.shape))

def attempt(call, n, stays):
    "1: MemoryError, 0: the right result; None: it was not so many allocations."
    try:
        result = library.call_failing(call, n, stays)
    except MemoryError:
        return 1
    assert same(result), n
    return 0 if library.has_failed() else None

def same(result):
    result = result if isinstance(result, tuple) else (result,)
    return all(a.tobytes() == b for a, b in zip(result, wanted, strict=True))

failures = 0
statistics = ("mean", "sigma", "inv_std", "rstd")
for way, change in ways.items():
    arguments = {key: larger(key, value) for key, value in ARGUMENTS[name].items()}
    if way == "float16" and name.startswith("local"):
        arguments = {k: v for k, v in arguments.items() if k not in ("y", "scale")}
    for key, value in arguments.items():
        if isinstance(value, np.ndarray) and not (way == "float16" and key in statistics):
            arguments[key] = change(value)
    for given in (False, True):
        x = arguments["x"]
        out = [np.empty(x.shape, x.dtype.newbyteorder("=")) for _ in range(2)]
        if given:
            arguments["out"] = tuple(out) if name == GRADIENT else out[0]
        # Not by **arguments: CPython 3.11 leaks the names where it has no memory to unpack them.
        written = ", ".join(f"{key}=arguments[{key!r}]" for key in arguments)
        call = eval(f"lambda: nk.{name}({written})")
        result = call()
        result = result if isinstance(result, tuple) else (result,)
        wanted = [a.tobytes() for a in result]
        del result
        inputs = [v for k, v in arguments.items() if isinstance(v, np.ndarray) and k != "out"]
        before = [a.tobytes() for a in inputs]
        references = [sys.getrefcount(a) for a in inputs]
        for stays in (0, 1):
            n, outcome = 1, 1
            while outcome is not None:
                for _ in range(50):  # Python keeps some blocks for later, but not ever more
                    blocks = library.blocks_now()
                    for _ in range(3):
                        outcome = attempt(call, n, stays)
                    more = library.blocks_now() - blocks
                    if more < 3:
                        break
                assert more < 3, f"{way}, out {given}, {n}: {more} blocks are not given back"
                failures += outcome == 1
                n += 1
        assert [a.tobytes() for a in inputs] == before
        assert [sys.getrefcount(a) for a in inputs] == references
        assert attempt(call, 0, 0) is None  # which asserts that the result is right
        arguments.pop("out", None)
print(failures)
"""


@pytest.fixture(scope="module")
def failing(tmp_path_factory):
    """The library that makes allocations fail."""
    path = tmp_path_factory.mktemp("allocation") / "failing.so"
    source = HERE / "allocation.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", path, source], check=True)
    return str(path)


@pytest.mark.parametrize("name", CALLS)
def test_every_allocation_of_a_call(name, failing):
    """MemoryError or the result; nothing is kept, no input changes, and then it works again."""
    # A free-threaded Python has no such allocator: there, those of NumPy and C++ fail alone.
    python = {} if sysconfig.get_config_var("Py_GIL_DISABLED") else {"PYTHONMALLOC": "malloc"}
    scene = run(SCENE, str(HERE), name, LD_PRELOAD=failing, **python)
    assert int(scene[0]) > 20


THREADS = """
library = ctypes.CDLL(os.environ["LD_PRELOAD"])
def few(allowed):
    library.allow_threads(allowed)
    own(8)
    assert threads_now() == 1 + allowed, threads_now()
    library.allow_threads(-1)
    own(8)
for allowed in range(7):
    assert child(lambda: few(allowed)) == 0, allowed
"""


def test_every_thread_that_cannot_be_started(failing):
    """The first, the second and so on: the call does with those that there are."""
    run(THREADS, LD_PRELOAD=failing)
