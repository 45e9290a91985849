"""``dlcore generate``: text comes as it is made, the same for the same seed."""

import subprocess

import pytest

import dlcore as dl
from dlcore import io
from dlcore.models import GPT2, GPT2Config
from tests.cli.conftest import command, dlcore, environment, refused


def generate(run, *options):
    """What is printed, to the last character."""
    done = dlcore("generate", run, *options, encoding=None)
    assert done.returncode == 0 and done.stderr == b"", done.stderr
    return done.stdout.decode()


def test_the_text_is_what_the_model_writes(char_run):
    run, prompt = char_run[0], "the quick — naïve"
    kept = io.load_checkpoint(run / "checkpoint")
    model = GPT2(GPT2Config(**kept.extra["config"])).eval()
    model.load_state_dict(kept.model)
    characters = kept.extra["characters"]
    how = {"temperature": 0.7, "top_k": 9, "top_p": 0.9, "generator": dl.Generator(5)}
    expected = "".join(characters[t] for t in model.generate([characters.index(c) for c in prompt], 60, **how))
    options = "--seed 5 --temperature 0.7 --top-k 9 --top-p 0.9 --max-new-tokens 60".split()
    assert generate(run, "--prompt", prompt, *options) == f"{prompt}{expected}\n"
    assert generate(run / "checkpoint", "--prompt", prompt, *options, "--threads", 1) == f"{prompt}{expected}\n"


@pytest.mark.parametrize("level", ["byte", "char"])
def test_seeds_and_choices(level, request):
    run, _ = request.getfixturevalue(f"{level}_run")
    seeds = [generate(run, "--prompt", "fox", "--seed", seed) for seed in (1, 1, 2)]
    assert seeds[0] == seeds[1] != seeds[2] and seeds[0].startswith("fox")
    likeliest = generate(run, "--prompt", "fox", "--temperature", 0)
    for options in (["--temperature", 0], ["--top-k", 1], ["--top-p", 1e-9], ["--temperature", 1e-6]):
        assert generate(run, "--prompt", "fox", *options) == likeliest
    assert generate(run, "--prompt", "fox", "--max-new-tokens", 0) == "fox\n"
    assert generate(run, "--max-new-tokens", 5).startswith("\n")


def test_how_much_is_written(char_run):
    for tokens in (1, 100):  # within the context of 16, and far beyond
        assert len(generate(char_run[0], "--prompt", "brown fox jumps over a lazy", "--max-new-tokens", tokens)) == (
            len("brown fox jumps over a lazy") + tokens + 1
        )


def test_text_comes_as_it_is_made_until_nobody_reads(byte_run):
    endless = command("generate", byte_run[0], "--max-new-tokens", 1 << 40, "--prompt", "the ")
    child = subprocess.Popen(endless, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    assert child.stdout.read(50).startswith(b"the ")
    child.stdout.close()
    assert child.stderr.read() == b"" and child.wait() == 141


def test_a_prompt_of_any_bytes(byte_run):
    child = command("generate", byte_run[0], "--max-new-tokens", 5)
    done = subprocess.run([*child, "--prompt", b"\xff\xfe"], capture_output=True, env=environment())
    assert done.returncode == 0 and done.stderr == b"" and done.stdout.startswith(b"??")
    assert generate(byte_run[0], "--prompt", "日本", "--max-new-tokens", 5).startswith("日本")


def test_characters_outside_of_the_alphabet(char_run):
    said = refused("generate", char_run[0], "--prompt", "the Quick日")
    assert said == f"dlcore generate: --prompt: the model's alphabet of {alphabet(char_run)} characters lacks 'Q', '日'"


def alphabet(run):
    return len(io.load_checkpoint(run[0] / "checkpoint").extra["characters"])


@pytest.mark.parametrize(
    "options, message",
    [
        (["--prompt", ""], "--prompt must not be empty"),
        (["--max-new-tokens", -1], "--max-new-tokens must not be negative, got -1"),
        (["--temperature", -1], "--temperature must be a number of at least 0, got -1.0"),
        (["--temperature", "nan"], "--temperature must be a number of at least 0, got nan"),
        (["--temperature", "inf"], "--temperature must be a number of at least 0, got inf"),
        (["--top-k", 0], "--top-k must be at least 1, got 0"),
        (["--top-p", 0], "--top-p must be over 0 and at most 1, got 0.0"),
        (["--top-p", 1.5], "--top-p must be over 0 and at most 1, got 1.5"),
        (["--top-p", "nan"], "--top-p must be over 0 and at most 1, got nan"),
        (["--seed", -1], "--seed must be from 0 to 2^63 - 1, got -1"),
        (["--threads", -1], "--threads must be from 1 to 1024, got -1"),
        (["--top-k", "few"], "argument --top-k: invalid int value: 'few'"),
    ],
)
def test_bad_values(byte_run, options, message):
    assert message in refused("generate", byte_run[0], *options)


def test_no_checkpoint(tmp_path, corpus):
    for path in (tmp_path, tmp_path / "nothing", corpus):
        assert refused("generate", path) == f"dlcore generate: there is no checkpoint in {path}"


def test_config_and_version():
    done = dlcore("config")
    assert done.returncode == 0 and done.stdout.startswith(f"dlcore {dl.__version__} on Python")
    assert dlcore("--version").stdout == f"dlcore {dl.__version__}\n"
