"""The memory of training steps of a GPT, dlcore beside PyTorch and beside what `Module.plan` predicts.

    python -m benchmarks.memory                 # GPT-2 124M, one sequence of 256 tokens, AdamW
    python -m benchmarks.memory --batch 4 --tokens 1024

Each library trains in a process of its own, from its own initial values; the peak is what the system counts (VmHWM).
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
GPT2 = {"vocabulary": 50257, "width": 768, "layers": 12, "heads": 12, "batch": 1, "tokens": 256, "steps": 4}
MIB = 2**20


def status(name: str) -> int:
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith(name))


def dlcore_model(s: dict[str, int]) -> tuple[Any, Any, Any]:
    import dlcore
    from dlcore import models, nn, optim

    class Model(nn.Module):
        def __init__(self) -> None:
            sizes = (s["vocabulary"], s["tokens"], s["width"], s["layers"], s["heads"])
            self.gpt = models.GPT2(models.GPT2Config(*sizes, dropout=0.0))

        def forward(self, x: Any, y: Any) -> Any:
            return self.gpt.loss(x, y)

    return dlcore, optim, Model()


def torch_model(s: dict[str, int]) -> tuple[Any, Any, Any]:
    import torch
    from torch import nn
    from torch.nn import functional as F

    C, H = s["width"], s["heads"]

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ln1, self.ln2 = nn.LayerNorm(C), nn.LayerNorm(C)
            self.qkv, self.proj = nn.Linear(C, 3 * C), nn.Linear(C, C)
            self.fc, self.out = nn.Linear(C, 4 * C), nn.Linear(4 * C, C)

        def forward(self, x: Any) -> Any:
            B, T, _ = x.shape
            q, k, v = (t.view(B, T, H, C // H).transpose(1, 2) for t in self.qkv(self.ln1(x)).split(C, -1))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, H, T, D)
            x = x + self.proj(y.transpose(1, 2).reshape(B, T, C))
            return x + self.out(F.gelu(self.fc(self.ln2(x)), approximate="tanh"))

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wte, self.wpe = nn.Embedding(s["vocabulary"], C), nn.Embedding(s["tokens"], C)
            self.blocks, self.ln = nn.Sequential(*[Block() for _ in range(s["layers"])]), nn.LayerNorm(C)

        def forward(self, x: Any, y: Any) -> Any:
            h = self.blocks(self.wte(x) + self.wpe(torch.arange(x.shape[1])))
            logits = F.linear(self.ln(h), self.wte.weight)  # (B, T, V)
            return F.cross_entropy(logits.view(-1, s["vocabulary"]), y.view(-1))

    return torch, torch.optim, Model()


def worker(peer: str, s: dict[str, int]) -> dict[str, int]:
    """Trains in this process."""
    lib, optim, model = {"dlcore": dlcore_model, "torch": torch_model}[peer](s)
    optimizer = optim.AdamW(model.parameters(), lr=3e-4)
    x, y = (lib.randint(0, s["vocabulary"], (s["batch"], s["tokens"])) for _ in range(2))
    gc.collect()
    found = {"built": status("VmRSS")}
    if peer == "dlcore":
        found["planned"] = model.plan(x, y, optimizer=optimizer).peak
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    for _ in range(s["steps"]):
        optimizer.zero_grad()
        model(x, y).backward()
        optimizer.step()
    return found | {"peak": status("VmHWM")}


def measure(peer: str, sizes: dict[str, int]) -> dict[str, int]:
    """Bytes of a process of its own: `built` with the model, at the `peak`, and, for dlcore, as `planned`."""
    command = [sys.executable, "-m", "benchmarks.memory", "--worker", peer, json.dumps(sizes)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name, value in GPT2.items():
        parser.add_argument(f"--{name}", type=int, default=value, metavar="N")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = vars(parser.parse_args())
    if options["worker"]:
        peer, sizes = options["worker"]
        print(json.dumps(worker(peer, json.loads(sizes))))
        return
    sizes = {name: options[name] for name in GPT2}
    found = {peer: measure(peer, sizes) for peer in ("dlcore", "torch")}
    print(f"{'MiB':<10}{'built':>10}{'peak':>10}{'growth':>10}{'planned':>10}")
    for peer, f in found.items():
        row = [f["built"], f["peak"], f["peak"] - f["built"], *([f["planned"]] if "planned" in f else [])]
        print(f"{peer:<10}" + "".join(f"{size / MIB:>10,.0f}" for size in row))
    print(f"dlcore's peak is {found['dlcore']['peak'] / found['torch']['peak']:.1%} of PyTorch's")


if __name__ == "__main__":
    main()
