"""A run that is interrupted and goes on from its checkpoint has the losses of one that was not, bit for bit."""

import numpy as np
import pytest

import dlcore as dl
from dlcore import data, io, nn, optim
from dlcore.models import GPT2, GPT2Config

TEXT = np.random.default_rng(0).integers(0, 40, 400).astype(np.uint8)


class Run:
    """Everything a training run consists of; with dropout, so that the default generator counts."""

    def __init__(self, seed, optimiser, workers):
        dl.manual_seed(seed)
        self.model = GPT2(GPT2Config(vocab_size=40, n_positions=8, n_embd=16, n_layer=1, n_head=2, dropout=0.2))
        if optimiser == "adamw":
            self.optimizer = optim.AdamW(self.model.parameters(), lr=1e-2)
        else:
            self.optimizer = optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.scheduler = optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 20)
        windows = data.Subset(data.TextWindows(TEXT, 8), range(0, 390, 10))  # 39 windows: 10 steps in an epoch
        self.loader = data.DataLoader(windows, 4, shuffle=True, num_workers=workers)
        self.batches = iter(())

    def step(self):
        batch = next(self.batches, None)
        if batch is None:
            self.batches = iter(self.loader)
            batch = next(self.batches, None)
            if batch is None:  # the checkpoint was made after the last batch of an epoch
                self.batches = iter(self.loader)
                batch = next(self.batches)
        loss = self.model(batch[0], targets=batch[1])[1]
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.scheduler.step()
        return loss.item()

    def parts(self):
        return {
            "model": self.model,
            "optimizer": self.optimizer,
            "scheduler": self.scheduler,
            "generator": dl.default_generator,
            "data": self.loader,
        }


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_bit_exact(tmp_path, optimiser, workers):
    run, expected = Run(1, optimiser, workers), []
    for step in range(16):
        if step in (3, 10, 13):
            io.save_checkpoint(tmp_path / str(step), **run.parts(), extra={"step": step})
        expected.append(run.step())
    assert len(set(expected)) == 16
    for step in (3, 10, 13):
        fresh = Run(99, optimiser, workers)
        fresh.step()  # whatever it has done before does not matter
        assert io.load_checkpoint(tmp_path / str(step), **fresh.parts()).extra == {"step": step}
        fresh.batches = iter(())
        assert [fresh.step() for _ in range(16 - step)] == expected[step:]


def test_threads_do_not_matter(tmp_path):
    run = Run(1, "adamw", 0)
    io.save_checkpoint(tmp_path / "c", **run.parts())
    losses = []
    for threads in (1, 2, 5):
        dl.set_num_threads(threads)
        again = Run(2, "adamw", 0)
        io.load_checkpoint(tmp_path / "c", **again.parts())
        losses.append([again.step() for _ in range(5)])
    assert losses[0] == losses[1] == losses[2]


def test_another_model_is_refused(tmp_path):
    run = Run(1, "adamw", 0)
    io.save_checkpoint(tmp_path / "c", **run.parts())
    other = GPT2(GPT2Config(vocab_size=41, n_positions=8, n_embd=16, n_layer=2, n_head=2))
    with pytest.raises(ValueError, match=r"missing: transformer.h.1.*\n  wrong shape: transformer.wte.weight"):
        io.load_checkpoint(tmp_path / "c", model=other)
