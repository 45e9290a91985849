"""pytest-benchmark over the same named shapes, dlcore beside NumPy: python -m pytest benchmarks -k softmax"""

import numpy as np
import pytest

from benchmarks.ops import jobs

JOBS = list(jobs())


@pytest.mark.parametrize("side", ["dlcore", "numpy"])
@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_op(benchmark, job, side):
    benchmark.group = job.name
    with np.errstate(all="ignore"):
        benchmark(getattr(job, side))
