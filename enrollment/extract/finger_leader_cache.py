"""The rewritten LEADER graph, made at first use and kept in the user's cache, beside the model packs.

A kept file begins with the SHA-256 of the rest; one that is damaged is made anew. Its name holds a digest of the
published file and of the code that rewrites it, so that no change to either meets an old graph. Where the folder cannot
be written, the graph is made at every start, in a tenth of a second.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
from pathlib import Path

from enrollment.extract.finger_leader_graph import rewrite
from enrollment.models import models_folder

log = logging.getLogger(__name__)

_REWRITER = Path(__file__).with_name("finger_leader_graph.py")
_DIGEST = hashlib.sha256().digest_size


def default_folder() -> Path:
    """``leader`` in the folder of the model packs."""
    return models_folder() / "leader"


def rewritten_leader(published: bytes, folder: Path | None = None) -> bytes:
    """The rewritten graph of the published one, from the folder (``default_folder()`` when left out) or made now."""
    path = (folder or default_folder()) / _name(published)
    kept = _read(path)
    if kept is not None:
        return kept
    made = rewrite(published)
    _keep(path, made)
    return made


def _name(published: bytes) -> str:
    digest = hashlib.sha256(hashlib.sha256(published).digest() + _REWRITER.read_bytes())
    return f"{digest.hexdigest()[:32]}.graph"


def _read(path: Path) -> bytes | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    digest, graph = data[:_DIGEST], data[_DIGEST:]
    return graph if hashlib.sha256(graph).digest() == digest else None


def _keep(path: Path, graph: bytes) -> None:
    """Written aside and renamed, so that no other process ever reads half of it."""
    aside = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, aside = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
        with open(descriptor, "wb") as file:
            file.write(hashlib.sha256(graph).digest() + graph)
        os.replace(aside, path)
    except OSError as error:
        log.info("the rewritten fingerprint network is not kept in %s: %s", path.parent, error.strerror)
        if aside:
            with contextlib.suppress(OSError):
                os.unlink(aside)
