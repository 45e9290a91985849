"""The README's example runs as it stands there and learns what it says."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def test_the_example_trains_a_network(capsys):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(example.strip().splitlines()) <= 25
    exec(compile(example, "README.md", "exec"), {})
    loss, accuracy = re.search(r"loss ([\d.]+), accuracy ([\d.]+)%", capsys.readouterr().out).groups()
    assert float(loss) < 0.1 and float(accuracy) > 95


def test_the_commands_are_there_for_ci_to_run():
    commands = re.findall(r"^    (.*)$", README, re.MULTILINE)
    for ending in ("pip install . && dlcore train", "python -m pytest"):
        assert sum(c.endswith(ending) for c in commands) == 1, f"one command that ends with {ending!r}"
    assert sum(c.startswith("dlcore generate") for c in commands) == 1


def test_the_table_of_capabilities_names_what_exists():
    rows = re.findall(r"^\| .* \|$", (ROOT / "docs" / "capabilities.md").read_text(), re.MULTILINE)
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
    assert len(cells) > 20 and {len(row) for row in cells} == {4}
    for idea, _, proofs, example in cells:
        for path in re.findall(r"`([\w/]+(?:\.py|/))`", proofs):
            assert (ROOT / "tests" / path).exists(), f"{idea}: {path}"
        for name in re.findall(r"`(\w+)`", example):
            assert (ROOT / "docs" / "examples" / f"plot_{name}.py").exists(), f"{idea}: {name}"
