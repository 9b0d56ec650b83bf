"""Embeddings that are kept: a text is embedded once by an encoder in an installation, whichever stage asks first.

A vector depends on its text alone (`Embedder`), so what is kept is what would be computed, and no result depends on what is there. Of a
text its digest is kept.
"""

import hashlib
import logging
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pp_resources.fingerprint import code_digest, digest

if TYPE_CHECKING:
    from pp_resources.models.embedder import Embedder

LOG = logging.getLogger("pp.vectors")
BLOCK = 8192  # texts that are looked up, and new ones that are written, at a time
MOST_BYTES = 1 << 30  # of the file: 600,000 vectors of MiniLM. Beyond it the oldest quarter goes
_POINT = 400  # keys in one query
_TABLE = "CREATE TABLE IF NOT EXISTS vectors (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, vector BLOB NOT NULL)"


class KeptEmbedder:
    """`Embedder.of(model_id, threads)` that embeds new texts alone; it is loaded when there is one. Processes may share `file`. Where that
    cannot be read or written, the log says so, and vectors are computed."""

    def __init__(self, file: Path, model_id: str, threads: int) -> None:
        self.file, self.model_id, self.threads = file, model_id, threads

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors, float32, shape (len(texts), hidden size)."""
        if not len(texts):
            return self._embedder.embed([])
        out: np.ndarray | None = None
        for start in range(0, len(texts), BLOCK):
            block = self._block(texts[start : start + BLOCK])
            out = np.empty((len(texts), block.shape[1]), np.float32) if out is None else out
            out[start : start + BLOCK] = block
        assert out is not None
        return out

    def _block(self, texts: Sequence[str]) -> np.ndarray:
        keys = [hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, key=self._encoder).digest() for text in texts]
        found = self._kept(sorted(set(keys)))
        new = {key: text for key, text in zip(keys, texts) if key not in found}
        if new:
            made = dict(zip(new, map(np.ndarray.tobytes, self._embedder.embed(list(new.values())))))
            self._keep(made)
            found |= made
        return np.stack([np.frombuffer(found[key], np.float32) for key in keys])

    @cached_property
    def _embedder(self) -> "Embedder":
        from pp_resources.models.embedder import Embedder

        return Embedder.of(self.model_id, self.threads)

    @cached_property
    def _encoder(self) -> bytes:
        """Digest of all that the bits of a vector depend on beside the text."""
        import torch

        from pp_resources.models.bases import find_base, weights_sha256

        folder = find_base(self.model_id)
        words = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.glob("*.json"))}
        libraries = [version(name) for name in ("torch", "transformers", "tokenizers")]
        machine = [torch.backends.cpu.get_cpu_capability(), self.threads]
        parts = [weights_sha256(folder), words, code_digest("pp_resources.models.embedder"), libraries, machine]
        return bytes.fromhex(digest(parts))

    def _kept(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        try:
            with closing(self._store()) as db:
                for start in range(0, len(keys), _POINT):
                    part = keys[start : start + _POINT]
                    found.update(db.execute(f"SELECT key, vector FROM vectors WHERE key IN ({','.join('?' * len(part))})", part))
        except (sqlite3.Error, OSError) as error:
            LOG.warning("kept embeddings cannot be read: %s: %s", self.file, error)
        return found

    def _keep(self, made: Mapping[bytes, bytes]) -> None:
        try:
            with closing(self._store()) as db, db:
                db.executemany("INSERT OR IGNORE INTO vectors (key, vector) VALUES (?, ?)", made.items())
                pages, free, size = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size"))
                if (pages - free) * size > MOST_BYTES:
                    db.execute("DELETE FROM vectors WHERE id <= (SELECT min(id) + (max(id) - min(id)) / 4 FROM vectors)")
        except (sqlite3.Error, OSError) as error:
            LOG.warning("embeddings cannot be kept: %s: %s", self.file, error)

    def _store(self) -> sqlite3.Connection:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self.file, timeout=60)
        try:
            db.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; {_TABLE};")
        except sqlite3.Error:
            db.close()
            raise
        return db
