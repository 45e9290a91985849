"""Tests of the device run where there is one: a GPU, or the emulated one of `cmake -DDLCORE_CUDA_EMULATED=ON`."""

import os

import dlcore as dl

collect_ignore = [] if dl.cuda.is_available() else ["test_opcases.py", "test_device.py", "test_training.py"]
if dl.cuda.is_available():
    collect_ignore = ["test_absent.py"]
elif os.environ.get("DLCORE_CUDA_BUILD"):
    raise RuntimeError(f"DLCORE_CUDA_BUILD is set, but there is no device: {dl.cuda.why_not()}")


def pytest_report_header(config):
    return f"CUDA: {dl.cuda.why_not() or dl.cuda.get_device_name()}"
