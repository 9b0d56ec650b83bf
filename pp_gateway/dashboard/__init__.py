"""The dashboard at `/`: what is going on, how good it is and how sure one may be of that, read from the store's sums.

Belongs here: which figures there are (`overview.py`), their intervals (`figures.py`), how often they are read and what is shown while the
store is away (`snapshots.py`), the routes. Does not: the page itself, which is in `pp_gateway/pages/`.
"""
