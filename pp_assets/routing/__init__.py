"""Which variant answers: sticky choice, evidence from feedback, weights that follow it, guards, and when the question is settled.

Belongs here: pure functions from counts to decisions, with their numbers. Does not: counting (the store), answering (the gateway), and what
starts by itself (the sensors).
"""
