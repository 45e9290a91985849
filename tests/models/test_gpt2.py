"""GPT2 against its formula in NumPy float64; cache, generation, saving, errors."""

import itertools
import json
import math
import shutil

import numpy as np
import pytest

import dlcore as dl
from dlcore import io, nn
from dlcore.models import GPT2, GPT2Cache, GPT2Config
from tests.opcases import EPS

SMALL = {"vocab_size": 50, "n_positions": 16, "n_embd": 24, "n_layer": 2, "n_head": 3}


def small(seed=0, **changes):
    dl.manual_seed(seed)
    model = GPT2(GPT2Config(**{**SMALL, "dropout": 0.0, **changes}))
    for p in model.parameters():  # larger than GPT-2's own, so that every part of the formula shows
        nn.init.normal_(p, 0.0, 0.3)
    return model


def tokens_of(*shape, seed=0, vocab=50):
    return np.random.default_rng(seed).integers(0, vocab, shape)


def reference(model, tokens):
    """Logits by the definition."""
    w = {k: v.numpy().astype(np.float64) for k, v in model.state_dict().items()}

    def norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def layer(x, name):
        return x @ w[f"{name}.weight"] + w[f"{name}.bias"]

    B, T = tokens.shape
    C, H = model.config.n_embd, model.config.n_head
    x = w["transformer.wte.weight"][tokens] + w["transformer.wpe.weight"][:T]
    for i in range(model.config.n_layer):
        at = f"transformer.h.{i}"
        q, k, v = np.split(layer(norm(x, f"{at}.ln_1"), f"{at}.attn.c_attn"), 3, axis=-1)
        q, k, v = (a.reshape(B, T, H, C // H).swapaxes(1, 2) for a in (q, k, v))
        scores = q @ k.swapaxes(2, 3) / math.sqrt(C // H) + np.triu(np.full((T, T), -np.inf), 1)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        y = (scores / scores.sum(-1, keepdims=True)) @ v
        x = x + layer(y.swapaxes(1, 2).reshape(B, T, C), f"{at}.attn.c_proj")
        h = layer(norm(x, f"{at}.ln_2"), f"{at}.mlp.c_fc")
        h = h * (1 + np.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3))) / 2
        x = x + layer(h, f"{at}.mlp.c_proj")
    return norm(x, "transformer.ln_f") @ w["transformer.wte.weight"].T


def test_logits_in_float64_are_the_formula():
    model, tokens = small().double(), tokens_of(3, 16)
    logits, loss = model(dl.tensor(tokens))
    expected = reference(model, tokens)
    assert loss is None and logits.shape == (3, 16, 50)
    # Some hundred roundings of numbers as large as the logits, amplified by two blocks with weights of order 1.
    assert np.abs(logits.numpy() - expected).max() <= 1e4 * EPS["float64"] * np.abs(expected).max()


def test_logits_in_float32():
    model, tokens = small(), tokens_of(3, 16)
    expected = reference(model, tokens)
    logits = model(dl.tensor(tokens))[0]
    assert np.abs(logits.numpy() - expected).max() <= 1e4 * EPS["float32"] * np.abs(expected).max()


def test_loss_and_ignored_targets():
    model, tokens = small().double(), tokens_of(2, 8)
    targets = tokens_of(2, 8, seed=1)
    targets[0, 3] = -100
    _, loss = model(dl.tensor(tokens), targets=dl.tensor(targets))
    expected = reference(model, tokens)
    logp = expected - np.log(np.exp(expected).sum(-1, keepdims=True))
    rows, cols = np.nonzero(targets >= 0)
    assert math.isclose(loss.item(), -logp[rows, cols, targets[rows, cols]].mean(), rel_tol=1e4 * EPS["float64"])


def test_gradients_match_differences():
    model, tokens = small().double(), dl.tensor(tokens_of(2, 6))
    targets = dl.tensor(tokens_of(2, 6, seed=1))
    model(tokens, targets)[1].backward()
    rng = np.random.default_rng(0)
    for name, p in model.named_parameters():
        direction, step = rng.standard_normal(p.shape), 1e-5
        losses = []
        for sign in (1, -1):
            p.numpy()[...] += sign * step * direction
            losses.append(model(tokens, targets)[1].item())
            p.numpy()[...] -= sign * step * direction
        numeric = (losses[0] - losses[1]) / (2 * step)
        analytic = float((p.grad.numpy() * direction).sum())
        # Central differences: step² from the third derivative, and eps / step from rounding the losses.
        assert abs(numeric - analytic) <= 1e-5 * max(abs(analytic), 1), name


def test_parameters_and_initial_values():
    dl.manual_seed(0)
    model = GPT2(GPT2Config(**{**SMALL, "n_embd": 96, "n_layer": 3}))
    names = [n for n, _ in model.named_parameters()]
    assert names[:4] == [
        "transformer.wte.weight",
        "transformer.wpe.weight",
        "transformer.h.0.ln_1.weight",
        "transformer.h.0.ln_1.bias",
    ]
    assert len(names) == 2 + 3 * 12 + 2 and "lm_head.weight" not in names
    assert model.lm_head.weight is model.transformer.wte.weight and "lm_head.weight" in model.state_dict()
    for name, p in model.named_parameters():
        values = p.numpy()
        if name.endswith("bias"):
            assert not values.any()
        elif ".ln_" in name:
            assert (values == 1).all()
        else:
            std = 0.02 / math.sqrt(6) if "c_proj" in name else 0.02
            assert abs(values.std() / std - 1) < 5 / math.sqrt(2 * values.size), name


def test_sizes_of_the_family():
    with nn.init.skip():
        model = GPT2()
    assert sum(p.numel() for p in model.parameters()) == 124_439_808
    assert GPT2Config.named("gpt2-xl", dropout=0.0).n_embd == 1600
    sizes = [GPT2Config.named(f"gpt2{s}") for s in ("", "-medium", "-large", "-xl")]
    shapes = [(12, 12, 768), (24, 16, 1024), (36, 20, 1280), (48, 25, 1600)]
    assert [(c.n_layer, c.n_head, c.n_embd) for c in sizes] == shapes
    with pytest.raises(ValueError, match="expected one of gpt2, gpt2-medium, gpt2-large, gpt2-xl, got 'gpt3'"):
        GPT2Config.named("gpt3")


@pytest.mark.parametrize("pieces", [[1] * 16, [16], [5, 1, 1, 1, 8], [1, 15], [7, 9]], ids=str)
def test_the_cache_changes_nothing(pieces):
    model, tokens = small().double(), tokens_of(2, 16)
    cache = GPT2Cache(model.config, batch_size=2, dtype=dl.float64)
    expected = reference(model, tokens)
    parts, at = [], 0
    with dl.no_grad():
        for n in pieces:
            parts.append(model(dl.tensor(tokens[:, at : at + n]), cache=cache)[0].numpy())
            at += n
    assert cache.length == 16
    assert np.abs(np.concatenate(parts, 1) - expected).max() <= 1e4 * EPS["float64"] * np.abs(expected).max()


def test_dropout_only_in_training():
    model, tokens = small(dropout=0.3), dl.tensor(tokens_of(2, 8))
    assert not np.array_equal(model(tokens)[0].numpy(), model(tokens)[0].numpy())
    model.eval()
    assert np.array_equal(model(tokens)[0].numpy(), model(tokens)[0].numpy())
    dl.manual_seed(1)
    first = model.train()(tokens)[0].numpy()
    dl.manual_seed(1)
    assert np.array_equal(first, model(tokens)[0].numpy())


def test_greedy_generation_follows_the_logits():
    model = small()
    out = list(model.generate([3, 1, 4], 10, temperature=0))
    tokens = [3, 1, 4]
    for token in out:
        assert token == int(reference(model, np.array([tokens]))[0, -1].argmax())
        tokens.append(token)
    assert all(type(t) is int for t in out) and len(out) == 10
    assert list(model.generate(dl.tensor([3, 1, 4]), 10, temperature=0)) == out


def test_generation_past_the_context():
    model = small()
    out = list(model.generate([1] * 10, 30, temperature=0))
    assert len(out) == 30
    tokens = [1] * 10
    window = list(tokens)
    for token in out:
        if len(window) > 16:
            window = window[-8:]
        assert token == int(reference(model, np.array([window]))[0, -1].argmax())
        window.append(token)
    long = list(range(40))  # a prompt longer than the context
    assert next(model.generate(long, 1, temperature=0)) == int(reference(model, np.array([long[-16:]]))[0, -1].argmax())


def test_generation_is_reproducible_and_leaves_the_model_as_it_was():
    model = small(dropout=0.5)
    draws = [list(model.generate([1], 12, temperature=0.7, generator=dl.Generator(5))) for _ in range(2)]
    assert draws[0] == draws[1] and model.training and model.transformer.drop.training
    other = list(model.generate([1], 12, generator=dl.Generator(6)))
    assert other != draws[0]
    state = dl.get_rng_state()
    list(model.generate([1], 5, generator=dl.Generator(1)))
    assert dl.get_rng_state() == state
    assert all(p.grad is None for p in model.parameters())
    assert dl.is_grad_enabled()


def test_tokens_come_one_by_one():
    model, calls = small(), []
    model.transformer.register_forward_hook(lambda m, args, out: calls.append(args[0].shape))
    stream = model.generate([1, 2, 3], 1000)
    assert calls == []
    assert len(list(itertools.islice(stream, 3))) == 3
    assert calls == [(1, 3), (1, 1), (1, 1)]
    assert list(model.generate([1], 0)) == []


def test_stop_tokens():
    model = small()
    out = list(model.generate([3, 1, 4], 10, temperature=0))
    for stop in (out[4], [out[4]], {out[4], -1}):
        assert list(model.generate([3, 1, 4], 10, temperature=0, stop=stop)) == out[: out.index(out[4])]


ERRORS = [
    (lambda m: m(dl.tensor([1, 2])), r"^transformer: expected tokens of shape \(B, T\) with T of at least 1, got \(2,"),
    (lambda m: m(dl.zeros((1, 17), dtype=dl.int64)), "the context holds 16 tokens, got 17"),
    (lambda m: m(dl.tensor([[1, 2]]), targets=dl.tensor([[1]])), r"expected targets of shape \(1, 2\), got \(1, 1\)"),
    (lambda m: m.generate([], 3), "expected a prompt of at least one token, got none"),
    (lambda m: m.generate([50], 3), "token 50 is outside of the vocabulary of 50"),
    (lambda m: m.generate([1], -1), "max_new_tokens must not be negative, got -1"),
    (lambda m: m.generate([1], 3, temperature=-1), "temperature must be a number of at least 0, got -1"),
    (lambda m: m.generate([1], 3, temperature=math.nan), "temperature must be a number of at least 0, got nan"),
    (lambda m: m.generate([1], 3, top_k=0), "top_k must be at least 1, got 0"),
    (lambda m: m.generate([1], 3, top_p=1.5), "top_p must be over 0 and at most 1, got 1.5"),
    (lambda m: GPT2Config(n_embd=10, n_head=3), "n_embd must be a multiple of n_head, got 10 and 3 heads"),
    (lambda m: GPT2Config(n_layer=0), "n_layer must be an integer of at least 1, got 0"),
    (lambda m: GPT2Config(dropout=1.5), r"expected a probability dropout in \[0, 1\], got 1.5"),
]


@pytest.mark.parametrize("call, text", ERRORS, ids=[text for _, text in ERRORS])
def test_errors(call, text):
    with pytest.raises(ValueError, match=text):
        call(small())


def test_errors_name_the_layer():
    model = small()
    model.transformer.h[1].attn.c_attn = model.transformer.h[1].mlp.c_proj
    with pytest.raises(ValueError) as e:
        model(dl.tensor([[1, 2]]))
    assert str(e.value) == "transformer.h.1.attn.c_attn: expected last dimension 96, got 24 (input (1, 2, 24))"
    with pytest.raises(IndexError, match="^transformer.wte: .*50"):
        model(dl.tensor([[1, 50]]))


def test_the_cache_has_an_end():
    model = small()
    cache = GPT2Cache(model.config, capacity=4)
    with dl.no_grad():
        model(dl.tensor([[1, 2, 3]]), cache=cache)
        with pytest.raises(ValueError, match="the context holds 4 tokens, got 2 after 3 in the cache"):
            model(dl.tensor([[1, 2]]), cache=cache)


def test_saving_and_loading(tmp_path):
    model = small().eval()
    model.save_pretrained(tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    assert config["model_type"] == "gpt2" and config["n_embd"] == 24 and config["resid_pdrop"] == 0.0
    assert "lm_head.weight" not in io.load_file(tmp_path / "m" / "model.safetensors")
    again = GPT2.from_pretrained(tmp_path / "m")
    tokens = dl.tensor(tokens_of(2, 16))
    assert again.config == model.config and not again.training
    assert np.array_equal(again(tokens)[0].numpy(), model(tokens)[0].numpy())
    assert again.lm_head.weight is again.transformer.wte.weight
    again.train()(tokens, tokens)[1].backward()  # mapped weights learn
    assert np.isfinite(again.transformer.wte.weight.grad.numpy()).all()


def test_loading_the_layout_without_prefix(tmp_path):
    model = small().eval()
    model.save_pretrained(tmp_path / "m")
    state = io.load_file(tmp_path / "m" / "model.safetensors")
    bare = {k.removeprefix("transformer."): v for k, v in state.items()}
    bare |= {"h.0.attn.bias": dl.ones((1, 1, 16, 16)), "h.1.attn.masked_bias": dl.zeros(())}
    io.save_file(bare, tmp_path / "m" / "model.safetensors")
    tokens = dl.tensor(tokens_of(2, 16))
    assert np.array_equal(GPT2.from_pretrained(tmp_path / "m")(tokens)[0].numpy(), model(tokens)[0].numpy())


def test_bfloat16(tmp_path):
    model = small().bfloat16().eval()
    model.save_pretrained(tmp_path / "m")
    again = GPT2.from_pretrained(tmp_path / "m")
    assert again.transformer.wte.weight.dtype is dl.bfloat16
    assert list(again.generate([1, 2], 5, temperature=0)) == list(model.generate([1, 2], 5, temperature=0))


def test_bad_directories(tmp_path):
    with pytest.raises(FileNotFoundError):
        GPT2.from_pretrained(tmp_path)
    small().save_pretrained(tmp_path / "m")
    config = tmp_path / "m" / "config.json"
    good = json.loads(config.read_text())
    for text, message in [
        ("{", "config.json is not valid JSON"),
        ("[]", "expected model_type 'gpt2', got"),
        (json.dumps({**good, "model_type": "bert"}), "expected model_type 'gpt2', got 'bert'"),
        (json.dumps({**good, "activation_function": "relu"}), "expected activation_function 'gelu_new', got 'relu'"),
        (json.dumps({**good, "n_layer": 3}), r"missing: transformer.h.2.ln_1.weight"),
        (json.dumps({**good, "vocab_size": 51}), r"wrong shape: transformer.wte.weight \(expected \(51, 24\), got"),
    ]:
        config.write_text(text)
        with pytest.raises(ValueError, match=message):
            GPT2.from_pretrained(tmp_path / "m")
    config.write_text(json.dumps(good))
    (tmp_path / "m" / "model.safetensors").write_bytes(b"\0" * 40)
    with pytest.raises(ValueError, match="model.safetensors"):
        GPT2.from_pretrained(tmp_path / "m")
    shutil.rmtree(tmp_path / "m")


def test_summary():
    model = small()
    summary = model.summary(dl.tensor(tokens_of(2, 16)))
    assert summary.parameters == sum(p.numel() for p in model.parameters())
    C, V, T, B = 24, 50, 16, 2
    block = B * T * 12 * C * C + B * C * T * (T + 1)
    assert summary.multiply_adds == 2 * block + B * T * C * V
    rows = {row.path: row for row in summary.layers}
    assert rows["transformer.h.1.mlp.c_fc"].output_shape == (2, 16, 96)
    line = next(line for line in str(summary).splitlines() if line.startswith("transformer.h.0.attn.c_attn "))
    assert line.split()[1:] == ["Conv1D", "(2,", "16,", "72)", "1,800", "55,296", "9.0", "KiB"]
