"""The operators of torch: what torch.library checks, derivatives of every order, transforms."""

import functools

import pytest

torch = pytest.importorskip("torch")

from torch.autograd import gradcheck, gradgradcheck  # noqa: E402
from torch_cases import (  # noqa: E402
    BACKWARDS,
    DTYPES,
    FORWARDS,
    HALVES,
    IDS,
    arguments,
    backward_arguments,
    main_results,
    normal,
    norms,
)

# Of torch's own, when a process first differentiates forward, and of opcheck.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.script"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
]

each_forward = pytest.mark.parametrize("name", FORWARDS)
WITH_BACKWARD = [name for name, (op, *_) in FORWARDS.items() if op in BACKWARDS]
QUICK_CHECKS = ("test_schema", "test_autograd_registration", "test_faketensor")


def of_tensors(op, args):
    """A function of the tensors alone, of what has gradients, and these tensors."""
    given = [i for i, a in enumerate(args) if isinstance(a, torch.Tensor) and a.requires_grad]

    def f(*tensors):
        changed = list(args)
        for i, t in zip(given, tensors, strict=True):
            changed[i] = t
        return main_results(op, op(*changed))

    return f, tuple(args[i] for i in given)


@pytest.mark.parametrize("dtype", DTYPES, ids=IDS)
@each_forward
def test_opcheck(name, dtype):
    op, args = arguments(name, dtype)
    checks = {} if dtype is torch.float32 else {"test_utils": QUICK_CHECKS}
    torch.library.opcheck(op.overload, args, **checks)


@pytest.mark.parametrize("dtype", DTYPES, ids=IDS)
@pytest.mark.parametrize("name", WITH_BACKWARD)
def test_opcheck_of_the_backward(name, dtype):
    op, args = backward_arguments(name, dtype)
    checks = {} if dtype is torch.float32 else {"test_utils": QUICK_CHECKS}
    torch.library.opcheck(op.overload, args, **checks)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("name", ["layer_norm", "group_norm", "add_rms_norm"])
def test_opcheck_of_float32_parameters_beside_halves(name, dtype):
    op, args = arguments(name, dtype, parameters=torch.float32)
    torch.library.opcheck(op.overload, args, test_utils=QUICK_CHECKS)


@each_forward
def test_derivatives(name):
    f, tensors = of_tensors(*arguments(name))
    assert gradcheck(f, tensors, check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(f, tensors, check_fwd_over_rev=True, check_batched_grad=True)


def formula(x, gamma, beta):
    """Layer norm in operators of torch, all of whose derivatives are right."""
    c = x - x.mean(-1, keepdim=True)
    return c * (c.square().mean(-1, keepdim=True) + 1e-3).rsqrt() * gamma + beta


def ours(x, gamma, beta):
    return torch.ops.normkernels.layer_norm(x, gamma, beta, [-1], 1e-3)[0]


def scalar(f, x, gamma, beta):
    return f(x, gamma, beta).sin().sum()


grad, jacfwd, jacrev, hessian = (
    torch.func.grad,
    torch.func.jacfwd,
    torch.func.jacrev,
    torch.func.hessian,
)
TRANSFORMS = {
    "grad": lambda f: grad(f, (0, 1, 2)),
    "grad of grad": lambda f: grad(lambda *a: grad(f, 1)(*a).square().sum(), (0, 1, 2)),
    "hessian": lambda f: hessian(f, (0, 1)),
    "forward twice": lambda f: jacfwd(jacfwd(f, 1), 0),
    "reverse twice": lambda f: jacrev(jacrev(f, 0), 0),
    "reverse over forward": lambda f: jacrev(jacfwd(f, 0), 0),
    "third": lambda f: grad(lambda *a: hessian(f, 0)(*a).square().sum(), (0, 1)),
    "per sample": lambda f: torch.vmap(grad(f, (0, 1, 2)), (0, None, None)),
    "per sample, all batched": lambda f: (
        lambda x, g, b: torch.vmap(grad(f, (0, 1)), (1, 0, 0))(x, g.repeat(4, 1), b.repeat(4, 1))
    ),
    "batch of batches": lambda f: torch.vmap(torch.vmap(f, (0, None, None)), (1, None, None)),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(name):
    args = normal(3, 4, 5), normal(5, seed=1), normal(5, seed=2)
    expected = TRANSFORMS[name](functools.partial(scalar, formula))(*args)
    found = TRANSFORMS[name](functools.partial(scalar, ours))(*args)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


@each_forward
def test_vmap_has_the_bits_of_single_calls(name):
    op, args = arguments(name, torch.float32, grad=False)
    images = 2 if name.startswith("add") else 1
    batches = [torch.stack([a, a + 1, 2 * a], 1) for a in args[:images]]
    found = torch.vmap(lambda *xs: op(*xs, *args[images:]), 1)(*batches)
    for i in range(3):
        single = op(*(b[:, i] for b in batches), *args[images:])
        for a, b in zip(main_results(op, found), main_results(op, single), strict=True):
            assert torch.equal(a[i], b)


@pytest.mark.parametrize("parameters", [False, True], ids=["shared", "batched"])
@each_forward
def test_gradients_of_a_batch_have_the_bits_of_single_calls(name, parameters):
    """Those of shared parameters, too, of which each element has its own."""
    op, (x, *rest) = arguments(name, torch.float32, grad=False)
    beside = [a for a in rest if isinstance(a, torch.Tensor)]
    others = [a for a in rest if not isinstance(a, torch.Tensor)]

    def loss(*tensors):
        return sum(r.sin().sum() for r in main_results(op, op(*tensors, *others)))

    gradient = torch.func.grad(loss, tuple(range(1 + len(beside))))
    dims = [1, *([1 if parameters else None] * len(beside))]
    given = [
        torch.stack([t, t + 1, 2 * t], 1) if d else t
        for t, d in zip([x, *beside], dims, strict=True)
    ]
    found = torch.vmap(gradient, tuple(dims))(*given)
    for i in range(3):
        single = gradient(*(t[:, i] if d else t for t, d in zip(given, dims, strict=True)))
        assert all(torch.equal(a[i], b) for a, b in zip(found, single, strict=True))


def test_gradients_of_a_batch_of_images_are_one_call(monkeypatch):
    calls = []
    call = norms.Operator.__call__
    monkeypatch.setattr(
        norms.Operator, "__call__", lambda op, *args: calls.append(op.name) or call(op, *args)
    )
    x = normal(3, 2, 6, 4)
    torch.vmap(grad(lambda x: norms.group_norm(x, None, None, 2, 1e-3)[0].sin().sum()))(x)
    assert calls.count("group_norm_backward") == 2  # of the batch, and of what it is folded to


def test_vmap_of_no_elements():
    x, gamma, beta = normal(0, 4, 5), normal(0, 5), normal(0, 5)
    assert torch.vmap(ours)(x, gamma, beta).shape == (0, 4, 5)
    gradients = torch.vmap(grad(functools.partial(scalar, ours), (0, 1)))(x, gamma, beta)
    assert [g.shape for g in gradients] == [(0, 4, 5), (0, 5)]


@each_forward
def test_the_dispatcher_and_the_direct_call_give_the_same(name):
    results = []
    for direct in (True, False):
        op, args = arguments(name, torch.float32)
        call = op if direct else op.overload
        results.append([r.detach() for r in main_results(op, call(*args))])
        sum(r.sin().sum() for r in main_results(op, call(*args))).backward()
        results[-1] += [a.grad for a in args if isinstance(a, torch.Tensor)]
    assert all(map(torch.equal, *results))


def test_each_call_is_seen_by_modes():
    from torch.utils._python_dispatch import TorchDispatchMode  # noqa: PLC0415

    seen = []

    class Recorder(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(func)
            return func(*args, **(kwargs or {}))

    op, args = arguments("layer_norm")
    with Recorder():
        op(*args)[0].sum().backward()
    assert torch.ops.normkernels.layer_norm.default in seen
    assert torch.ops.normkernels.layer_norm_backward.default in seen


def test_outputs_without_gradients_do_not_require_them():
    op, args = arguments("layer_norm")
    y, mean, sigma = op(*args)
    assert (y.requires_grad, mean.requires_grad, sigma.requires_grad) == (True, False, False)
    op, args = arguments("layer_norm", grad=False)
    assert not op(*args)[0].requires_grad


def test_only_wanted_gradients_are_made():
    op, (x, gamma, beta, *rest) = arguments("layer_norm")
    op(x.detach(), gamma, beta.detach(), *rest)[0].sum().backward()
    assert x.grad is None
    assert beta.grad is None
    assert gamma.grad is not None


def test_the_sum_passes_gradients_on_alone_and_together():
    op, (x, residual, *rest) = arguments("add_layer_norm")
    x.grad = residual.grad = None
    op(x, residual, *rest)[1].sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))
    assert torch.equal(residual.grad, x.grad)
    assert x.grad is not residual.grad


def test_tensors_with_the_negative_bit():
    z = torch.complex(normal(3, 5), normal(3, 5, seed=1)).conj()
    op, (_, gamma, beta, *rest) = arguments("rms_norm", grad=False)
    assert z.imag.is_neg()
    expected = op(z.imag.resolve_neg(), gamma, beta, *rest)[0]
    assert torch.equal(op(z.imag, gamma, beta, *rest)[0], expected)


@pytest.mark.parametrize("error", [RuntimeError, TypeError, ValueError])
@pytest.mark.parametrize("main", [False, True])
def test_an_error_in_a_hook_of_saved_tensors_is_raised_at_once(main, error):
    packed = []

    def pack(t):
        packed.append(t)
        raise error("full")

    op, args = arguments("layer_norm")
    call = (lambda *args: op.main(args[:3], args[3:])) if main else op
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t), pytest.raises(error) as e:
        call(*args)
    assert str(e.value) == "full"
    assert len(packed) == 1


def test_saved_tensors_are_released():
    op, args = arguments("layer_norm")
    y = op(*args)[0]
    y.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.sum().backward()
