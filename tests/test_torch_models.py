"""replace_norms on architectures of transformers, small ones with random weights."""

import copy

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import normkernels.torch as nkt  # noqa: E402
from torch_cases import normal  # noqa: E402

F32, F64 = torch.float32, torch.float64
TEXT = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "attn_implementation": "eager",
}
GROUPED = TEXT | {"num_key_value_heads": 2, "head_dim": 8}
VIT = TEXT | {"image_size": 32, "patch_size": 8}
SWIN = {"embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "image_size": 32, "window_size": 4}
CONVNEXT = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 1]}
BIT = {"embedding_size": 16, "hidden_sizes": [32, 64], "depths": [1, 1], "num_groups": 4}
T5 = {"vocab_size": 64, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1, "num_heads": 4}

# Options of the configuration, and how many norms of which class there are.
MODELS = {
    "Llama": (GROUPED, {"LlamaRMSNorm": 5}),
    "Gemma": (GROUPED, {"GemmaRMSNorm": 5}),
    "T5": (T5, {"T5LayerNorm": 7}),
    "Bert": (TEXT, {"LayerNorm": 5}),
    "ViT": (VIT, {"LayerNorm": 5}),
    "Swin": (SWIN, {"LayerNorm": 7}),
    "ConvNext": (CONVNEXT, {"ConvNextLayerNorm": 9, "LayerNorm": 1}),
    "Bit": (BIT, {"BitGroupNormActivation": 7}),
}


def made(name, seed=0):
    """A model with parameters of norms that are not all the same."""
    torch.manual_seed(seed)
    config = getattr(transformers, name + "Config")(**MODELS[name][0])
    model = getattr(transformers, name + "Model")(config).eval()
    for i, p in enumerate(model.parameters()):
        if p.dim() == 1:
            p.data = normal(*p.shape, dtype=F32, mean=1.0, seed=i) * 0.3 + 0.7
    # ConvNeXt's own norms turn images into channels_last, where torch's convolutions round less.
    return model.to(memory_format=torch.channels_last)


def run(model, name):
    """The output, and the gradients of all parameters, for one loss."""
    dtype = next(model.parameters()).dtype
    if name in ("ViT", "Swin", "ConvNext", "Bit"):
        side = 64 if name in ("ConvNext", "Bit") else 32
        images = normal(2, 3, side, side, dtype=dtype).to(memory_format=torch.channels_last)
        inputs = {"pixel_values": images}
    else:
        ids = torch.arange(18).reshape(2, 9)
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if name == "T5":
            inputs["decoder_input_ids"] = ids
    y = model(**inputs).last_hidden_state
    (y * normal(*y.shape, dtype=dtype, seed=3)).sum().backward()
    gradients = {k: p.grad for k, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return y.detach(), gradients


def error(found, exact):
    return ((found.double() - exact).norm() / exact.norm()).item()


def typical(errors):
    return torch.tensor(errors).log().mean().exp().item()


def errors(name, seed):
    """Of the output, and typically of a gradient, of a model with our norms and of the original."""
    theirs = made(name, seed)
    ours, exact = copy.deepcopy(theirs), copy.deepcopy(theirs).double()
    report = nkt.replace_norms(ours)
    counts = {}
    for kind in report.changed.values():
        counts[kind.__name__] = counts.get(kind.__name__, 0) + 1
    assert counts == MODELS[name][1]
    assert not report.left
    # transformers' own RMS norms compute in float32 whatever the dtype, so they are not exact.
    nkt.replace_norms(exact)
    y, gradients = run(exact, name)
    # Gradients that are 0 but for rounding, such as those of keys' biases, have no relative error.
    names = [k for k, g in gradients.items() if g.norm() > 1e-6 * y.numel()]
    assert len(names) > len(gradients) / 2
    for model in (ours, theirs):
        y_of, found = run(model, name)
        assert found.keys() == gradients.keys()
        yield error(y_of, y), typical([error(found[k], gradients[k]) for k in names])


@pytest.mark.parametrize("name", MODELS)
def test_outputs_and_gradients_beside_float64(name):
    # The products of matrices round as in the original; norms must not add to that. Their rounding,
    # another one on every processor, makes the ratio of one model anything from 0.8 to 1.2.
    ours, theirs = zip(*(errors(name, seed) for seed in range(6)), strict=True)
    for of in (0, 1):  # outputs, gradients
        assert typical([e[of] for e in ours]) <= 1.1 * typical([e[of] for e in theirs])


@pytest.mark.parametrize("name", ["Llama", "ConvNext"])
def test_state_round_trip_and_restoring(name):
    model = made(name)
    before, (expected, _) = list(map(type, model.modules())), run(model, name)
    other = copy.deepcopy(model)
    report = nkt.replace_norms(other)
    assert list(other.state_dict()) == list(model.state_dict())
    model.load_state_dict(other.state_dict())
    assert nkt.restore_norms(other) == list(report.changed)
    assert list(map(type, other.modules())) == before
    assert torch.equal(run(other, name)[0], expected)


def test_a_replaced_model_compiles():
    torch._dynamo.reset()
    model = made("Llama")
    nkt.replace_norms(model)
    ids = torch.arange(18).reshape(2, 9)
    with torch.no_grad():
        expected = model(input_ids=ids, use_cache=False).last_hidden_state
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
        found = compiled(input_ids=ids, use_cache=False).last_hidden_state
    torch.testing.assert_close(found, expected)
