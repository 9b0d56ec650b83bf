"""`make demo-loop`: a simulated shop whose users meet the real gateway, and the platform that learns from what they say.

Belongs here: the simulation and its story. Does not: anything that decides; that is the product's.
"""
