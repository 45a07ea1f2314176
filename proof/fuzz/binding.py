"""The NumPy functions with random arguments: in every dress that must be read alike, and wrong.

Refusals name the function and the argument, and write nothing; results are those of the plain call
to the bit, within the bounds of tests/reference.py and beside torch's; no case leaks.
"""

import gc
import operator
import random
import re
import sys
from typing import Any

import numpy as np
from conftest import Guarded, same_bits
from test_calls import FUNCTIONS
from test_hooks import OwnError
from views import ADDS, BOTH

from proof import calls
from proof.calls import Arguments, Call
from proof.fuzz import cases, odd, twins

REPEATS = 300


def check(rng: random.Random) -> str:
    """One case: a good call, in other dress, with up to two arguments spoiled."""
    good = calls.draw(rng)
    plain = good()
    calls.assert_right(good, plain)
    if twins.has_twin(good):
        twins.assert_like_torch(good, plain)
    given = {
        key: odd.dressed(rng, value) if rng.random() < 0.5 else value
        for key, value in good.arguments.items()
    }
    guards = _outputs(rng, good, plain, given)
    spoiled = rng.sample(list(given), min(len(given), rng.choice([0, 0, 1, 1, 1, 2])))
    for key in spoiled:
        given[key] = odd.spoiled(rng, given[key])
    if not spoiled and rng.random() < 0.1:
        spoiled += _overlap(good, given)
    if rng.random() < 0.03:
        given[rng.choice(["eps", "dim", "weight", "X", "nonsense", "\ud800"])] = 1
        spoiled.append("a keyword")
    outcome = _one(good, given, spoiled, guards, plain)
    if rng.random() < 0.01:
        _assert_flat(good.name, given)
    return outcome


def _outputs(
    rng: random.Random, good: Call, plain: list[np.ndarray], given: Arguments
) -> list[tuple[Guarded, np.ndarray]]:
    """May put arrays to write to among the arguments: between guard zones, some with steps."""
    if "out" not in calls.signature(good.name) or rng.random() < 0.5:
        return []
    pairs = []
    for result in plain[: 2 if good.name in {BOTH, *ADDS} else 1]:
        dense = result.ndim == 0 or good.name == "merge_moments"  # whose out must be
        step = 1 if dense else rng.choice([1, 1, 2, -1])
        shape = [*result.shape[:-1], result.shape[-1] * abs(step)] if result.ndim else []
        guard = Guarded(tuple(shape), result.dtype, rng.randrange(3))
        pairs.append((guard, guard.array[..., ::step] if result.ndim else guard.array))
    if good.name in ADDS:
        given["out"], given["total"] = (out for _, out in pairs)
    else:
        given["out"] = tuple(out for _, out in pairs) if good.name == BOTH else pairs[0][1]
    return pairs


def _overlap(good: Call, given: Arguments) -> list[str]:
    """Where it takes a single array to write to: one that begins an element later than x. What is
    spoiled; nothing, where they have no element in common."""
    x = good.arguments.get("x")
    if x is None or x.size < 2 or "out" not in calls.signature(good.name):
        return []
    if good.name in {BOTH, *ADDS}:
        return []
    memory = np.empty(x.size + 1, x.dtype)
    given["x"], given["out"] = memory[:-1].reshape(x.shape), memory[1:].reshape(x.shape)
    given["x"][...] = x
    _, (kind, text) = _outcome(good.name, given)
    assert kind is ValueError, text
    assert re.search("out shares memory", text), text
    return ["out"]


def _one(
    good: Call,
    given: Arguments,
    spoiled: list[str],
    guards: list[tuple[Guarded, np.ndarray]],
    plain: list[np.ndarray],
) -> str:
    before = [(array, array.tobytes()) for array in _memories(given)]
    results, error = _outcome(good.name, given)
    if results is None:
        _assert_refusal(good, spoiled, *error)
        assert all(array.tobytes() == was for array, was in before), "an error, and memory changed"
        assert spoiled, f"good arguments are refused: {error}"
    else:
        expected = _plain_call(good, given) if spoiled else plain
        assert len(results) == len(expected), "another number of results"
        assert all(map(same_bits, map(np.asarray, results), expected)), "not the plain call's bits"
        outs = _memories({key: given.get(key) for key in ("out", "total")})
        kept = [pair for pair in before if not any(np.shares_memory(pair[0], o) for o in outs)]
        assert all(array.tobytes() == was for array, was in kept), "an input changed"
        for guard, out in guards:
            # By its memory: a spoiled one may still do, as an object that has it.
            if any(np.may_share_memory(out, np.asarray(result)) for result in results):
                out[...] = np.frombuffer(b"\xff" * out.itemsize, out.dtype)[0]
            assert guard.is_untouched(), "written beside the output"
    return "results" if results is not None else error[0].__name__


def _outcome(name: str, given: Arguments) -> tuple[Any, Any]:
    """Results and None, or None and the type and text of the error. No reference is kept."""
    counts = _references(given, [])
    results = error = None
    try:
        result = FUNCTIONS[name](**given)
        results = [*result] if isinstance(result, tuple) else [result]
        del result
    except Exception as raised:
        error = type(raised), str(raised)
        raised.with_traceback(None)  # one that is raised again and again would add each to the last
    assert _references(given, results or []) == counts, f"references are kept; {error}"
    return results, error


def _references(given: Arguments, results: list[Any]) -> list[int]:
    """To each array, but for those that `results` has."""
    held = [value for value in given.values() if isinstance(value, np.ndarray)]
    return [sys.getrefcount(a) - sum(a is result for result in results) for a in held]


def _assert_refusal(good: Call, spoiled: list[str], kind: type, text: str) -> None:
    if kind is OwnError:
        return
    assert kind in {TypeError, ValueError}, f"{kind.__name__}: {text}"
    short = re.escape(good.name.rpartition(".")[2])
    if re.match(rf"{short}\(\) (got|missing|takes)", text):
        assert kind is TypeError
        assert "a keyword" in spoiled, text
        return
    match = re.match(rf"{re.escape(good.name)}: (\w+)(\[[01]\])? .*, must ", text, re.DOTALL)
    assert match, f"names no argument: {text}"
    named = match[1]
    assert named in calls.signature(good.name), text
    if len(spoiled) == 1 and not isinstance(good.arguments.get(named), np.ndarray):
        # Another argument than the spoiled one is named where the two contradict each other.
        together = {"axis", "axes", "groups", "x", "mean", "inv_std", "order", "out", "total"}
        assert named in {*spoiled, *together}, f"{spoiled} is wrong: {text}"


def _plain_call(good: Call, given: Arguments) -> list[np.ndarray]:
    """The results of the call on dense arrays and Python's own numbers."""
    arguments = {
        key: _plain(good.arguments.get(key), value)
        for key, value in given.items()
        if key not in {"out", "total", "num_threads"}
    }
    return Call(good.name, arguments)()


def _plain(good: Any, value: Any) -> Any:
    if value is None or isinstance(value, (list, tuple)):
        return value
    if isinstance(good, np.ndarray):
        array = np.from_dlpack(value) if not _is_viewed(value) else np.asarray(value)
        return np.array(array.astype(array.dtype.newbyteorder("=")), order="C", subok=False)
    if isinstance(good, (bool, int)):
        return type(good)(value) if isinstance(good, bool) else operator.index(value)
    return float(value) if isinstance(good, float) else value


def _is_viewed(value: Any) -> bool:
    names = ("__array__", "__array_interface__", "__array_struct__")
    return isinstance(value, memoryview) or any(hasattr(value, name) for name in names)


def _memories(given: Arguments) -> list[np.ndarray]:
    """All that the arguments see of arrays, wherever they keep them."""
    found = []
    for value in given.values():
        held = (
            value if isinstance(value, tuple) else (value, *getattr(value, "__dict__", {}).values())
        )
        for one in held:
            array = np.asarray(one) if isinstance(one, memoryview) else one
            while isinstance(getattr(array, "base", None), np.ndarray):
                array = array.base
            if isinstance(array, np.ndarray) and array.dtype != object:
                found.append(array)
    return found


def _assert_flat(name: str, given: Arguments) -> None:
    """Python has as many blocks of memory as before, however often the same is called: from the
    second or third round on, as NumPy and Python keep some for later."""
    rounds = []
    for _ in range(3):
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(REPEATS):
            _outcome(name, given)
        gc.collect()
        rounds.append(sys.getallocatedblocks() - before)
    assert min(rounds) < REPEATS // 2, f"blocks of memory more after {REPEATS} calls each: {rounds}"


if __name__ == "__main__":
    cases.main("binding", check, __doc__)
