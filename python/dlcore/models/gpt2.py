"""GPT-2, with the names and the `state_dict` keys of `transformers`.

Source: A. Radford et al., "Language models are unsupervised multitask learners", 2019.
Letters: B sequences, T tokens, S tokens with those in the cache, C width, H heads, D = C / H, V words.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dlcore import _C, io, nn, ops
from dlcore.models.sampling import choose
from dlcore.state import no_grad
from dlcore.tensor import Tensor

__all__ = ["GPT2", "GPT2Cache", "GPT2Config"]

_SIZES = {
    "gpt2": {"n_layer": 12, "n_head": 12, "n_embd": 768},
    "gpt2-medium": {"n_layer": 24, "n_head": 16, "n_embd": 1024},
    "gpt2-large": {"n_layer": 36, "n_head": 20, "n_embd": 1280},
    "gpt2-xl": {"n_layer": 48, "n_head": 25, "n_embd": 1600},
}


@dataclass
class GPT2Config:
    """Sizes of a GPT-2. The names are those of transformers' config.json.

    Raises:
        ValueError: a size below 1, a width that the heads do not divide, or a dropout outside [0, 1].
    """

    vocab_size: int = 50257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None  # 4 n_embd
    dropout: float = 0.1  # of the embeddings, the attention weights and what each block adds
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner"):
            value = getattr(self, name)
            if not (isinstance(value, int) and value >= 1) and not (name == "n_inner" and value is None):
                raise ValueError(f"[GPT2] {name} must be an integer of at least 1, got {value!r}")
        if self.n_embd % self.n_head:
            raise ValueError(f"[GPT2] n_embd must be a multiple of n_head, got {self.n_embd} and {self.n_head} heads")
        if not 0 <= self.dropout <= 1:
            raise ValueError(f"[GPT2] expected a probability dropout in [0, 1], got {self.dropout}")

    @classmethod
    def named(cls, name: str, **changes: Any) -> GPT2Config:
        """The configuration of "gpt2", "gpt2-medium", "gpt2-large" or "gpt2-xl", with changes."""
        if name not in _SIZES:
            raise ValueError(f"[GPT2] expected one of {', '.join(_SIZES)}, got {name!r}")
        return cls(**{**_SIZES[name], **changes})


class GPT2Cache:
    """Keys and values of the tokens seen so far, in memory that is reserved once: (B, H, capacity, D) for each layer.

    Args:
        config: of the model.
        batch_size: B.
        capacity: the most tokens it holds; `n_positions` by default.
        dtype: of the model's activations.
    """

    def __init__(
        self, config: GPT2Config, batch_size: int = 1, capacity: int | None = None, dtype: Any = _C.float32
    ) -> None:
        self.capacity = config.n_positions if capacity is None else capacity
        self.length = 0
        shape = (batch_size, config.n_head, self.capacity, config.n_embd // config.n_head)
        self.layers = [(_C.empty(shape, dtype), _C.empty(shape, dtype)) for _ in range(config.n_layer)]

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Adds keys and values (B, H, T, D) after the `length` that are there; gives all of them, (B, H, S, D).
        `length` itself moves on when all layers are done."""
        end = self.length + k.shape[2]
        out = []
        for new, kept in zip((k, v), self.layers[layer], strict=True):
            _C.copy_into(new, _C.slice(kept, 2, self.length, end, 1))
            out.append(_C.slice(kept, 2, 0, end, 1))
        return out[0], out[1]


class Conv1D(nn.Module):
    """x W + b with W (in, out): a Linear whose weight lies the other way round, as OpenAI stored it.

    The activation is computed in the same pass over the output.
    """

    def __init__(self, out_features: int, in_features: int, activation: str | None = None) -> None:
        self.activation = activation
        self.weight = nn.Parameter(_C.empty((in_features, out_features), _C.float32))
        self.bias = nn.Parameter(_C.zeros((out_features,), _C.float32))

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1:] != self.weight.shape[:1]:
            expected = f"expected last dimension {self.weight.shape[0]}, got {x.shape[-1] if x.ndim else 'a number'}"
            raise ValueError(f"[Conv1D] {expected} (input {x.shape})")
        how = () if self.activation is None else (self.activation,)
        return ops.linear(x, self.weight.T, self.bias, *how)

    def multiply_adds(self, args: tuple[Any, ...], output: Any) -> int:
        return output.numel() * self.weight.shape[0]

    def extra_repr(self) -> str:
        activation = f", activation={self.activation!r}" if self.activation else ""
        return f"nf={self.weight.shape[1]}, nx={self.weight.shape[0]}{activation}"


class GPT2Attention(nn.Module):
    """Causal self-attention in H heads."""

    def __init__(self, config: GPT2Config) -> None:
        self.n_head, self.p = config.n_head, config.dropout
        self.c_attn = Conv1D(3 * config.n_embd, config.n_embd)
        self.c_proj = Conv1D(config.n_embd, config.n_embd)
        self.resid_dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, cache: GPT2Cache | None = None, layer: int = 0) -> Tensor:
        B, T, C = x.shape
        heads = self.c_attn(x).reshape(B, T, 3, self.n_head, C // self.n_head)  # (B, T, 3C) as (B, T, 3, H, D)
        q, k, v = (part.transpose(1, 2) for part in ops.unbind(heads, 2))  # (B, H, T, D) each
        mask = None
        if cache is not None:
            k, v = cache.extend(layer, k, v)  # (B, H, S, D)
            if 1 < T < k.shape[2]:  # several new tokens after old ones: each sees the old ones and those up to itself
                S = k.shape[2]
                mask = ops.arange(S).unsqueeze(0) <= ops.arange(S - T, S).unsqueeze(1)  # (T, S)
        p = self.p if self.training else 0.0
        causal = T > 1 and mask is None
        y = ops.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=p, is_causal=causal)  # (B, H, T, D)
        y = y.transpose(1, 2).reshape(B, T, C)
        return self.resid_dropout(self.c_proj(y))

    def multiply_adds(self, args: tuple[Any, ...], output: Any) -> int:
        B, T, C = output.shape
        return B * C * T * (T + 1)  # q kᵀ and weights · v, each over the T (T + 1) / 2 pairs that causality leaves


class GPT2MLP(nn.Module):
    """Two layers with the tanh form of gelu between them."""

    def __init__(self, config: GPT2Config) -> None:
        inner = config.n_inner or 4 * config.n_embd
        self.c_fc = Conv1D(inner, config.n_embd, activation="gelu_tanh")
        self.c_proj = Conv1D(config.n_embd, inner)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.c_proj(self.c_fc(x)))  # (B, T, C) to (B, T, 4C) to (B, T, C)


class GPT2Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, config: GPT2Config) -> None:
        self.ln_1 = nn.LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.attn = GPT2Attention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.mlp = GPT2MLP(config)

    def forward(self, x: Tensor, cache: GPT2Cache | None = None, layer: int = 0) -> Tensor:
        normed, x = self.ln_2(self.attn(self.ln_1(x), cache, layer), residual=x)  # (B, T, C) each
        return x + self.mlp(normed)


class GPT2Transformer(nn.Module):
    """From tokens (B, T) to the last hidden states (B, T, C)."""

    def __init__(self, config: GPT2Config) -> None:
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(config.dropout)
        self.h = nn.ModuleList(GPT2Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, config.layer_norm_epsilon)

    def forward(self, tokens: Tensor, cache: GPT2Cache | None = None) -> Tensor:
        if tokens.ndim != 2 or tokens.shape[1] < 1:
            expected = "expected tokens of shape (B, T) with T of at least 1"
            raise ValueError(f"[GPT2Transformer] {expected}, got {tokens.shape}")
        start = 0 if cache is None else cache.length
        end = start + tokens.shape[1]
        room = self.config.n_positions if cache is None else min(self.config.n_positions, cache.capacity)
        if end > room:
            already = f" after {start} in the cache" if start else ""
            raise ValueError(f"[GPT2Transformer] the context holds {room} tokens, got {tokens.shape[1]}{already}")
        x = self.drop(self.wte(tokens) + self.wpe(ops.arange(start, end)))  # (B, T, C) + (T, C)
        for i, block in enumerate(self.h):
            x = block(x, cache, i)
        if cache is not None:
            cache.length = end
        return self.ln_f(x)


class GPT2(nn.Module):
    """A language model: from tokens to the logits of each next one. The output layer shares the embedding's weight.

    Args:
        config: the sizes; GPT-2 small by default.

    Initial values as in the paper: normal with standard deviation 0.02, and 0.02 / √(2 n_layer) for the layers that end
    in the residual stream; zero biases.
    """

    def __init__(self, config: GPT2Config | None = None) -> None:
        self.config = config = config or GPT2Config()
        with nn.init.skip():
            self.transformer = GPT2Transformer(config)
        self.lm_head = nn.Linear.from_parameters(self.transformer.wte.weight)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the parameters anew."""
        std = self.config.initializer_range
        for name, p in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(p)
            elif ".ln_" in name:
                nn.init.ones_(p)
            else:
                nn.init.normal_(p, 0.0, std / math.sqrt(2 * self.config.n_layer) if "c_proj" in name else std)

    def forward(
        self, tokens: Tensor, targets: Tensor | None = None, cache: GPT2Cache | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Logits (B, T, V), and the mean cross-entropy where targets are given.

        Args:
            tokens: integers (B, T).
            targets: the next token for each place, (B, T); -100 where there is none.
            cache: filled and used; for incremental decoding under `no_grad`.
        """
        if targets is not None:
            self._check(tokens, targets)
        logits = self.lm_head(self.transformer(tokens, cache))  # (B, T, V)
        if targets is None:
            return logits, None
        return logits, ops.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))

    def loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """The mean cross-entropy alone, as `forward` gives it, without holding all logits: what training needs."""
        self._check(tokens, targets)
        return ops.linear_cross_entropy(self.transformer(tokens), self.lm_head.weight, targets)

    def _check(self, tokens: Tensor, targets: Tensor) -> None:
        if targets.shape != tokens.shape:
            raise ValueError(f"[GPT2] expected targets of shape {tokens.shape}, got {targets.shape}")

    def generate(
        self,
        prompt: Sequence[int] | Tensor,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        generator: Any = None,
        stop: int | Collection[int] | None = None,
    ) -> Iterator[int]:
        """Continues a prompt, token by token, without dropout.

        When the context is full, its second half is read again as the new beginning.

        Args:
            prompt: at least one token; of a longer one than the context, the end.
            max_new_tokens: how many to give at most.
            temperature: divides the logits; 0 always takes the likeliest token.
            top_k: choose among this many likeliest tokens.
            top_p: choose among the likeliest tokens that together have at least this probability.
            generator: of the random choices; the default generator otherwise.
            stop: a token, or several, that end the text; the one that does is not given.

        Raises:
            ValueError: arguments out of range.
        """
        tokens = [int(t) for t in (prompt.tolist() if isinstance(prompt, _C.Tensor) else prompt)]
        if not tokens:
            raise ValueError("[generate] expected a prompt of at least one token, got none")
        wrong = next((t for t in tokens if not 0 <= t < self.config.vocab_size), None)
        if wrong is not None:
            raise ValueError(f"[generate] token {wrong} is outside of the vocabulary of {self.config.vocab_size}")
        if max_new_tokens < 0:
            raise ValueError(f"[generate] max_new_tokens must not be negative, got {max_new_tokens}")
        if not (temperature >= 0 and math.isfinite(temperature)):
            raise ValueError(f"[generate] temperature must be a number of at least 0, got {temperature}")
        if top_k is not None and top_k < 1:
            raise ValueError(f"[generate] top_k must be at least 1, got {top_k}")
        if top_p is not None and not 0 < top_p <= 1:
            raise ValueError(f"[generate] top_p must be over 0 and at most 1, got {top_p}")
        stops = {stop} if isinstance(stop, int) else set(stop or ())
        return self._continue(tokens, max_new_tokens, stops, (temperature, top_k, top_p, generator))

    def _continue(self, tokens: list[int], count: int, stops: set[int], how: tuple[Any, ...]) -> Iterator[int]:
        limit = self.config.n_positions
        capacity = min(limit, len(tokens) + count)
        cache = GPT2Cache(self.config, 1, capacity, self.lm_head.weight.dtype)
        tokens, unread = tokens[-limit:], len(tokens[-limit:])
        for _ in range(count):
            if len(tokens) > limit:
                tokens = tokens[-max(limit // 2, 1) :]
                unread, cache.length = len(tokens), 0
            token = self._next_token(tokens[-unread:], cache, how)
            if token in stops:
                return
            yield token
            tokens.append(token)
            unread = 1

    def _next_token(self, unread: list[int], cache: GPT2Cache, how: tuple[Any, ...]) -> int:
        training = self.training
        if training:
            self.eval()
        try:
            with no_grad():
                hidden = self.transformer(ops.tensor([unread]), cache)  # (1, T, C)
                return choose(self.lm_head(hidden[0, -1]), *how)  # (V,)
        finally:
            if training:
                self.train()

    @classmethod
    def from_pretrained(cls, path: str | os.PathLike[str], dropout: float | None = None) -> GPT2:
        """A model that `transformers` or `save_pretrained` saved: a directory with config.json and model.safetensors.

        The weights stay in the mapped file until they are used or changed.

        Raises:
            ValueError: not a GPT-2, or weights that do not fit.
            OSError: a file is missing.
        """
        folder = Path(path)
        try:
            given = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        except ValueError as e:
            raise ValueError(f"[from_pretrained] {folder / 'config.json'} is not valid JSON: {e}") from None
        if not isinstance(given, dict) or given.get("model_type") != "gpt2":
            kind = given.get("model_type") if isinstance(given, dict) else given
            raise ValueError(f"[from_pretrained] {folder / 'config.json'}: expected model_type 'gpt2', got {kind!r}")
        if given.get("activation_function", "gelu_new") != "gelu_new":
            got = given["activation_function"]
            raise ValueError(f"[from_pretrained] expected activation_function 'gelu_new', got {got!r}")
        known = {name: given[name] for name in GPT2Config.__dataclass_fields__ if name in given and name != "dropout"}
        p = given.get("resid_pdrop", 0.1) if dropout is None else dropout
        state = io.load_file(folder / "model.safetensors")
        # OpenAI's own files have no "transformer." in front, and the causal mask as if it were a weight.
        state = {k: v for k, v in state.items() if not k.endswith((".attn.bias", ".attn.masked_bias"))}
        if "wte.weight" in state:
            state = {f"transformer.{k}": v for k, v in state.items()}
        with nn.init.skip():
            model = cls(GPT2Config(**known, dropout=p))
        model.load_state_dict(state, assign=True)
        return model.eval()

    def save_pretrained(self, path: str | os.PathLike[str]) -> None:
        """Writes config.json and model.safetensors, such that `transformers` loads the directory."""
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        fields = asdict(self.config)
        p = fields.pop("dropout")
        fields.update(model_type="gpt2", architectures=["GPT2LMHeadModel"], activation_function="gelu_new")
        fields.update(resid_pdrop=p, embd_pdrop=p, attn_pdrop=p, tie_word_embeddings=True)
        state = self.state_dict()
        del state["lm_head.weight"]
        io.save_file(state, folder / "model.safetensors", {"format": "pt"})
        (folder / "config.json").write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
