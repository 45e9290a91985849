"""Every example of the gallery runs, draws, names its formula and says what to look at."""

import ast
import runpy
import warnings
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import pytest
from matplotlib import pyplot

import dlcore as dl

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "docs" / "examples").glob("plot_*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_example(path):
    words = ast.get_docstring(ast.parse(path.read_text()))
    assert ".. math::" in words and "**What to look at.**" in words
    state = dl.get_rng_state()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "FigureCanvasAgg is non-interactive")  # plt.show() has no screen here
            runpy.run_path(str(path), run_name="__main__")
        drawn = [pyplot.figure(n) for n in pyplot.get_fignums()]
        assert drawn and all(ax.has_data() for figure in drawn for ax in figure.axes)
    finally:
        pyplot.close("all")
        dl.set_rng_state(state)
