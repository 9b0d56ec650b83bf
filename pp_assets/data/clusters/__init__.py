"""Topics of texts from their sentence embeddings, with ids that last.

    found = fit(vectors, item_ids)                  # Clusters: labels, centroids, radii; equal input gives equal bytes in any row order
    found = name_topics(found, texts)               # words that set each topic apart, or a title by a provider
    labels, similarity = found.assign(new_vectors)  # no refit: the nearest topic, -1 outside of its radius
    later = refit(found, vectors, item_ids)         # warm start: ids stay; later.history tells grown, split, merged, born, died
    save(later, folder); load(folder)               # safetensors, parquet and json

`vectors` are unit embeddings (float32 or float16, shape (rows, size), may be memory-mapped), `item_ids` one text a row that stays with the
row's content. Modules of this project import from the module that a name is defined in.
"""

from pp_assets.data.clusters.fit import fit, refit
from pp_assets.data.clusters.history import Event
from pp_assets.data.clusters.model import OUTLIER, Clusters, load, save
from pp_assets.data.clusters.naming import name_topics
from pp_assets.data.clusters.page import write_map
from pp_assets.data.clusters.tables import topic_table

__all__ = ["OUTLIER", "Clusters", "Event", "fit", "load", "name_topics", "refit", "save", "topic_table", "write_map"]
