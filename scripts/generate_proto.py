"""Generates the Python of the contract beside its .proto files; ``--check`` fails when what is checked in is stale."""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import sys
import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
SUFFIXES = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi")


def generate(target: Path) -> None:
    """Writes all generated modules below ``target`` (ambis/v1/...)."""
    sources = sorted(str(p.relative_to(PROTO)) for p in PROTO.rglob("*.proto"))
    include = Path(grpc_tools.__file__).parent / "_proto"
    # protoc finds its plug-ins on the path: those of this environment, whether it is activated or not.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    code = protoc.main(
        [
            "protoc",
            f"-I{PROTO}",
            f"-I{include}",
            f"--python_out={target}",
            f"--grpc_python_out={target}",
            f"--mypy_out={target}",
            f"--mypy_grpc_out={target}",
            *sources,
        ]
    )
    if code:
        raise SystemExit("protoc failed; see the messages above")


def main() -> int:
    """Returns 1 when ``--check`` finds a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder)
        generate(target)
        fresh = sorted(p.relative_to(target) for p in target.rglob("*") if p.is_file())
        present = sorted(p.relative_to(PROTO) for p in PROTO.rglob("*") if p.name.endswith(SUFFIXES))
        if check:
            stale = [str(p) for p in {*fresh, *present} if not _same(target / p, PROTO / p)]
            for path in sorted(stale):
                print(f"stale: proto/{path}; run 'make proto' and commit the result", file=sys.stderr)
            return 1 if stale else 0
        for path in set(present) - set(fresh):
            (PROTO / path).unlink()
        for path in fresh:
            shutil.copyfile(target / path, PROTO / path)
    return 0


def _same(left: Path, right: Path) -> bool:
    return left.is_file() and right.is_file() and filecmp.cmp(left, right, shallow=False)


if __name__ == "__main__":
    sys.exit(main())
