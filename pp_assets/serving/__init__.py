"""What a task says about how it is served, and how its variants are made ready to answer.

Belongs here: the `serving` section of a task, models on shared bases. Does not: HTTP, queues, logging (the gateway).
"""
