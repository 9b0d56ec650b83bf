"""How hard an input is: how much three unlike classifiers disagree on it, each asked about rows that it was not fitted to.

The label of the row is not looked at: a row on which all agree and are wrong is a wrong label, which the review queue is for.
"""

import json
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from pp_assets.data.neighbours import codes_of, spread_out
from pp_assets.task.examples import Example
from pp_resources.json_schema import Schema, get_path, leaf_fields

FOLDS = 3
NEIGHBOURS = 5
FITTED = 10_000  # rows that classifiers are fitted to, spread evenly over the written ones


def difficulty(schema: Schema, written: Sequence[Example], generated: Sequence[Example], vectors: np.ndarray) -> np.ndarray:
    """For the written rows, then the generated ones: 0 where logistic regression and nearest neighbours on the embeddings and naive Bayes
    on the words agree on every enum and boolean field, 1 where all three differ on all. nan where no such field is, or too little to fit.
    `vectors` are unit embeddings of the same rows (rows, size).

    Groups stay together: a row is judged by classifiers that have seen neither it nor its relatives.
    """
    rows = [*written, *generated]
    paths = [leaf.path for leaf in leaf_fields(schema) if leaf.kind in ("enum", "boolean")]
    groups = codes_of([row.group or row.item_id for row in rows])
    chosen = spread_out(len(written), FITTED)
    if not paths or len(np.unique(groups[chosen])) < FOLDS:
        return np.full(len(rows), np.nan)
    labels = np.stack([codes_of([json.dumps(get_path(row.output, path), sort_keys=True) for row in rows]) for path in paths], axis=1)
    words = _words([row.input_text for row in rows], chosen)
    fold = groups % FOLDS  # codes are in the order of the groups' names, which are hashes
    found = np.zeros(len(rows))
    for held in range(FOLDS):
        asked, known = np.flatnonzero(fold == held), chosen[fold[chosen] != held]
        if len(asked) and len(known):
            found[asked] = np.mean([_disagreement(vectors, words, labels[:, k], known, asked) for k in range(len(paths))], axis=0)
    return found


def _disagreement(vectors: np.ndarray, words: np.ndarray, labels: np.ndarray, known: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Share of the three pairs of classifiers that differ."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import ComplementNB
    from sklearn.neighbors import KNeighborsClassifier

    if len(np.unique(labels[known])) < 2:
        return np.zeros(len(asked))
    near = KNeighborsClassifier(min(NEIGHBOURS, len(known)), metric="cosine", weights="distance", algorithm="brute")
    said = [
        model.fit(features[known], labels[known]).predict(features[asked])
        for model, features in ((LogisticRegression(C=10.0, max_iter=200), vectors), (near, vectors), (ComplementNB(), words))
    ]
    return np.mean([one != other for one, other in combinations(said, 2)], axis=0)


def _words(texts: Sequence[str], fitted: np.ndarray) -> np.ndarray:
    from scipy import sparse
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    try:
        vectorizer.fit([texts[i] for i in fitted])
    except ValueError:  # no text holds a word
        return sparse.csr_matrix((len(texts), 1))  # type: ignore[no-any-return]
    return vectorizer.transform(texts)  # type: ignore[no-any-return]
