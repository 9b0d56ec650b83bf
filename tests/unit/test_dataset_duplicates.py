"""Near-duplicates: the numpy bands find what an exact comparison and datasketch find."""

import random
from pathlib import Path

import numpy as np
import pytest
from datasketch import MinHash, MinHashLSH

from pp_assets.task.duplicates import BandHasher, TextSpool, bands_for, find_near_duplicates, jaccard, normalise, shingles
from pp_assets.task.splits import components


def find(texts: list[str], threshold: float, folder: Path, **options: np.ndarray) -> tuple[np.ndarray, list]:
    spool = TextSpool(folder / "texts.bin")
    spool.append(texts)
    spool.flush()
    found = find_near_duplicates([BandHasher(threshold).keys(texts)], np.arange(len(texts)), spool, threshold, **options)
    spool.close()
    edges = np.array([(e.a, e.b) for e in found.edges], dtype=np.int64).reshape(-1, 2)
    return components(len(texts), edges), found.edges


def varied(count: int, seed: int = 0) -> list[str]:
    """Random sentences, a third of them edits of an earlier one at all degrees of likeness."""
    pick = random.Random(seed)
    words = ["".join(pick.choices("abcdefghijklmnoprstuvwz", k=pick.randint(2, 9))) for _ in range(800)]
    texts: list[str] = []
    for i in range(count):
        if i > 10 and i % 3 == 0:
            old = pick.choice(texts).split()
            for _ in range(pick.randint(1, 4)):
                old[pick.randrange(len(old))] = pick.choice(words)
            texts.append(pick.choice([" ".join(old), pick.choice(texts) + "!"]))
        else:
            texts.append(" ".join(pick.choices(words, k=pick.randint(3, 30))))
    return texts


def test_normalisation_forgets_case_width_and_space() -> None:
    assert normalise("  Ｈello\u00a0 WORLD\n") == "hello world" == normalise("hello world")
    assert normalise("Straße") == normalise("STRASSE")


def test_short_texts_are_compared_whole(tmp_path: Path) -> None:
    assert shingles("no") == {"no "} and jaccard(shingles("no"), shingles("ok")) == 0.0
    labels, _ = find(["no", "ok", "", "🙂", "yes please", "yes please!"], 0.8, tmp_path)
    assert len(set(labels[:4].tolist())) == 4 and labels[4] == labels[5]


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.95])
def test_pairs_above_the_threshold_are_joined_and_no_others(tmp_path: Path, threshold: float) -> None:
    texts = varied(600)
    labels, edges = find(texts, threshold, tmp_path)
    sets = [shingles(text) for text in texts]
    pairs = {(i, j): jaccard(sets[i], sets[j]) for i in range(len(texts)) for j in range(i)}
    above = [pair for pair, similarity in pairs.items() if similarity >= threshold]
    assert len(above) > 20
    missed = [pair for pair in above if labels[pair[0]] != labels[pair[1]]]
    assert len(missed) <= 0.02 * len(above)
    for edge in edges:
        assert edge.similarity >= threshold and edge.similarity == pytest.approx(pairs[max(edge.a, edge.b), min(edge.a, edge.b)])


def test_datasketch_finds_no_more_candidates_than_we_join(tmp_path: Path) -> None:
    texts, threshold = varied(400, seed=1), 0.8
    bands, rows = bands_for(threshold)
    index = MinHashLSH(num_perm=bands * rows, params=(bands, rows))
    hashes = []
    for i, text in enumerate(texts):
        minhash = MinHash(num_perm=bands * rows, seed=3)
        minhash.update_batch([shingle.encode() for shingle in shingles(text)])
        index.insert(str(i), minhash)
        hashes.append(minhash)
    theirs = {(i, int(j)) for i in range(len(texts)) for j in index.query(hashes[i]) if int(j) < i}
    theirs = {(i, j) for i, j in theirs if jaccard(shingles(texts[i]), shingles(texts[j])) >= threshold}
    labels, _ = find(texts, threshold, tmp_path)
    assert len(theirs) > 20
    assert sum(labels[i] != labels[j] for i, j in theirs) <= 1


def test_bands_keep_ninety_nine_percent_at_the_threshold() -> None:
    for threshold in (0.3, 0.5, 0.7, 0.8, 0.9, 1.0):
        bands, rows = bands_for(threshold)
        assert bands * rows <= 96 and 1 - (1 - threshold**rows) ** bands >= 0.99


def test_keys_do_not_depend_on_the_neighbours_in_a_batch() -> None:
    texts = varied(50)
    hasher = BandHasher(0.8)
    together = hasher.keys(texts)
    assert np.array_equal(together, np.vstack([hasher.keys([text]) for text in texts]))


def test_a_large_bucket_is_compared_with_its_leaders_only_and_says_so(tmp_path: Path) -> None:
    base = "please send the parcel with the number of my order to the new address in the town of "
    spool = TextSpool(tmp_path / "t")
    texts = [f"{base}{i:03d}" for i in range(300)]
    spool.append(texts)
    spool.flush()
    found = find_near_duplicates([BandHasher(0.8).keys(texts)], np.arange(300), spool, 0.8)
    assert found.coarse_buckets > 0
    assert len(set(components(300, np.array([(e.a, e.b) for e in found.edges])).tolist())) == 1


def test_only_pairs_with_a_marked_row_are_compared_when_asked(tmp_path: Path) -> None:
    text = "where is my parcel, it was due on monday"
    texts = [text, text + "!", text.replace(",", "?")]
    marked = np.array([False, False, True])
    _, edges = find(texts, 0.7, tmp_path, only_with=marked)
    assert edges and all(marked[e.a] or marked[e.b] for e in edges)
