"""Jobs: work that takes longer than somebody waits, asked for over HTTP, done by a process of its own as a Dagster run.

A job is a row of the store, what becomes of it are events with numbers; both outlive the gateway. Belongs here: the routes, who starts and
buries workers, what a worker tells. Does not: what a kind of work does (`pp_assets.flows`).
"""
