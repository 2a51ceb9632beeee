"""What the benchmarks run: the programs of the workspace, its bench programs, and the rival in a virtual environment."""

import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
PROGRAMS = TARGET / "release"
CACHE = TARGET / "bench"
RIVAL = Path(__file__).resolve().parent / "rival"


@functools.cache
def bench_programs():
    """The bench programs by name, built when they are not up to date."""
    command = ["cargo", "build", "--release", "--locked", "--message-format=json-render-diagnostics"]
    command += ["--package", "kernel", "--bench", "image", "--bench", "memory"]
    command += ["--package", "system-tests", "--bench", "clients", "--bench", "mind"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit("the bench programs could not be built")
    built = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["target"]["name"]: line["executable"] for line in built if line.get("executable")}


@functools.cache
def rival_python(names="requirements.txt"):
    """The interpreter of an environment that holds what a file of `rival` names; made once for each version of that file.

    It is made from this interpreter, the system's: the one that our method-workers embed. A line `# CXXFLAGS=…` says what is compiled how.
    """
    requirements = RIVAL / names
    version = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    flags = [line.partition("CXXFLAGS=")[2] for line in requirements.read_text().splitlines() if line.startswith("# CXXFLAGS=")]
    environment = {**os.environ, "CXXFLAGS": " ".join([os.environ.get("CXXFLAGS", ""), *flags]).strip()}
    folder = CACHE / f"rival-{version}"
    python = folder / "bin/python"
    complete = folder / "complete"
    if complete.exists():
        return str(python)
    print("making the rival's environment in", folder, file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", str(requirements)]
    if flags:
        install.append("--no-cache-dir")  # pip keeps what it has built, however it was built
    for command in ([sys.executable, "-m", "venv", str(folder)], install):
        if subprocess.run(command, stdout=sys.stderr, env=environment, check=False).returncode != 0:
            sys.exit("the rival cannot be installed; it needs python3-venv and, the first time, PyPI")
    complete.touch()
    return str(python)


def rival(program, *arguments, names="requirements.txt"):
    """The command line of one of the rival's programs."""
    return [rival_python(names), "-B", str(RIVAL / program), *map(str, arguments)]
