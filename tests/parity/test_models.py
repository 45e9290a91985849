"""GPT2 against transformers, LeNet and MLP against PyTorch: files, logits, gradients, ten steps of training."""

import json

import numpy as np
import pytest
import torch
from transformers import GPT2Config as TheirConfig
from transformers import GPT2LMHeadModel

import dlcore as dl
from dlcore import nn, optim
from dlcore.models import GPT2, MLP, GPT2Config, LeNet, LeNetConfig, MLPConfig
from tests.opcases import EPS
from tests.parity.compare import assert_as_good

SIZES = {"vocab_size": 97, "n_positions": 32, "n_embd": 48, "n_layer": 3, "n_head": 4}


def their_gpt2(seed=0, **changes):
    torch.manual_seed(seed)
    dropouts = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    model = GPT2LMHeadModel(TheirConfig(**SIZES, **dropouts, **changes))
    for p in model.parameters():  # larger than the initial ones, so that every part shows in the logits
        torch.nn.init.normal_(p, 0.0, 0.15)
    return model.eval()


def tokens_of(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 97, shape)


def test_we_load_what_transformers_saves(tmp_path):
    theirs = their_gpt2()
    theirs.save_pretrained(tmp_path / "m")
    ours, tokens = GPT2.from_pretrained(tmp_path / "m"), tokens_of(3, 32)
    with torch.no_grad():
        expected = theirs(torch.tensor(tokens)).logits
        truth = theirs.double()(torch.tensor(tokens)).logits
    logits = ours(dl.tensor(tokens))[0]
    assert np.abs(logits.numpy() - expected.numpy()).max() < 1e-4
    assert_as_good(logits, expected, truth, "logits")


def test_transformers_loads_what_we_save(tmp_path):
    dl.manual_seed(0)
    ours, tokens = GPT2(GPT2Config(**SIZES, n_inner=100)).eval(), tokens_of(3, 32)
    ours.save_pretrained(tmp_path / "m")
    theirs = GPT2LMHeadModel.from_pretrained(tmp_path / "m").eval()
    assert theirs.lm_head.weight.data_ptr() == theirs.transformer.wte.weight.data_ptr()
    with torch.no_grad():
        expected = theirs(torch.tensor(tokens)).logits
    assert np.abs(ours(dl.tensor(tokens))[0].numpy() - expected.numpy()).max() < 1e-4
    assert theirs.config.n_inner == 100 and theirs.config.activation_function == "gelu_new"


def test_state_dict_has_their_keys_and_order():
    theirs, ours = their_gpt2().state_dict(), GPT2(GPT2Config(**SIZES)).state_dict()
    assert [(k, v.shape) for k, v in ours.items()] == [(k, tuple(v.shape)) for k, v in theirs.items()]
    ours = GPT2(GPT2Config(**SIZES))
    ours.load_state_dict({k: dl.from_dlpack(v) for k, v in theirs.items()})
    again = their_gpt2(1)
    again.load_state_dict({k: torch.from_dlpack(v) for k, v in ours.state_dict().items()})
    assert all(torch.equal(v, theirs[k]) for k, v in again.state_dict().items())


def test_loss_and_gradients(tmp_path):
    theirs = their_gpt2()
    theirs.save_pretrained(tmp_path / "m")
    ours = GPT2.from_pretrained(tmp_path / "m").train()
    tokens, targets = tokens_of(2, 32), tokens_of(2, 32, seed=1)
    targets[:, ::5] = -100
    loss = ours(dl.tensor(tokens), targets=dl.tensor(targets))[1]
    loss.backward()

    def their_loss(model):
        logits = model(torch.tensor(tokens)).logits
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.tensor(targets).flatten())

    losses, grads = {}, {}
    for dtype in (torch.float32, torch.float64):
        model = their_gpt2().to(dtype)
        losses[dtype] = their_loss(model)
        losses[dtype].backward()
        grads[dtype] = {k: p.grad for k, p in model.named_parameters()}
    assert_as_good(loss, losses[torch.float32], losses[torch.float64], "loss")
    for name, p in ours.named_parameters():
        assert_as_good(p.grad, grads[torch.float32][name], grads[torch.float64][name], name)


def test_generation_is_greedy_as_theirs(tmp_path):
    theirs = their_gpt2()
    theirs.save_pretrained(tmp_path / "m")
    ours = GPT2.from_pretrained(tmp_path / "m")
    prompt = tokens_of(5).tolist()
    expected = theirs.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, 5), max_new_tokens=20, do_sample=False, pad_token_id=0
    )
    assert list(ours.generate(prompt, 20, temperature=0)) == expected[0, 5:].tolist()


def test_sharded_and_other_models_are_refused(tmp_path):
    theirs = their_gpt2()
    theirs.save_pretrained(tmp_path / "m", max_shard_size="50KB")
    with pytest.raises(FileNotFoundError, match="model.safetensors"):
        GPT2.from_pretrained(tmp_path / "m")
    their_gpt2(activation_function="relu").save_pretrained(tmp_path / "r")
    assert json.loads((tmp_path / "r" / "config.json").read_text())["activation_function"] == "relu"
    with pytest.raises(ValueError, match="expected activation_function 'gelu_new', got 'relu'"):
        GPT2.from_pretrained(tmp_path / "r")


class TorchLeNet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = torch.nn.Conv2d(6, 16, 5)
        self.fc1 = torch.nn.Linear(400, 120)
        self.fc2 = torch.nn.Linear(120, 84)
        self.fc3 = torch.nn.Linear(84, 10)

    def forward(self, x):
        x = torch.nn.functional.avg_pool2d(torch.tanh(self.conv1(x)), 2)
        x = torch.nn.functional.avg_pool2d(torch.tanh(self.conv2(x)), 2).flatten(1)
        return self.fc3(torch.tanh(self.fc2(torch.tanh(self.fc1(x)))))


class TorchMLP(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList([torch.nn.Linear(20, 32), torch.nn.Linear(32, 32), torch.nn.Linear(32, 10)])

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = torch.nn.functional.silu(layer(x))
        return self.layers[-1](x)


def batches(kind):
    rng = np.random.default_rng(5)
    for _ in range(10):
        if kind == "gpt2":
            yield rng.integers(0, 97, (4, 32)), rng.integers(0, 97, (4, 32))
        else:
            shape = (8, 1, 28, 28) if kind == "lenet" else (8, 20)
            yield rng.standard_normal(shape).astype(np.float32), rng.integers(0, 10, 8)


def models_of(kind):
    """Ours, and theirs with the same values."""
    dl.manual_seed(0)
    if kind == "gpt2":
        ours, theirs = GPT2(GPT2Config(**SIZES, dropout=0.0)), their_gpt2()
    elif kind == "lenet":
        ours, theirs = LeNet(LeNetConfig()), TorchLeNet()
    else:
        ours, theirs = MLP(MLPConfig(20, (32, 32), 10, activation="silu")), TorchMLP()
    state = {k: torch.from_numpy(v.numpy().copy()) for k, v in ours.state_dict().items()}
    theirs.load_state_dict(state)
    return ours, theirs


OPTIMISERS = {
    "sgd": (lambda o, params: o.SGD(params, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01)),
    "adamw": (lambda o, params: o.AdamW(params, lr=3e-3, weight_decay=0.1)),
}


def their_losses(model, make, kind, dtype):
    model = model.to(dtype)
    optimiser, losses = make(torch.optim, model.parameters()), []
    for x, y in batches(kind):
        x = torch.from_numpy(x)
        out = model(x).logits if kind == "gpt2" else model(x.to(dtype))
        loss = torch.nn.functional.cross_entropy(out.reshape(-1, out.shape[-1]), torch.from_numpy(y).reshape(-1))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return np.array(losses)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("kind", ["gpt2", "lenet", "mlp"])
def test_ten_steps(kind, optimiser):
    make = OPTIMISERS[optimiser]
    ours, theirs = models_of(kind)
    criterion, losses = nn.CrossEntropyLoss(), []
    ours_optimiser = make(optim, ours.parameters())
    for x, y in batches(kind):
        if kind == "gpt2":
            loss = ours(dl.tensor(x), targets=dl.tensor(y))[1]
        else:
            loss = criterion(ours(dl.tensor(x)), dl.tensor(y))
        ours_optimiser.zero_grad()
        loss.backward()
        ours_optimiser.step()
        losses.append(loss.item())
    expected = their_losses(theirs, make, kind, torch.float32)
    truth = their_losses(models_of(kind)[1], make, kind, torch.float64)
    assert np.ptp(truth) > 0.01  # something happened
    # Each step rounds the loss and moves the weights by something rounded as well.
    allowed = max(2 * np.abs(expected - truth).max(), 10 * 8 * EPS["float32"] * np.abs(truth).max())
    assert np.abs(np.array(losses) - truth).max() <= allowed
