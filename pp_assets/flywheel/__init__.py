"""The loop that closes: feedback starts a training, a candidate answers in the shadow of the champion, and takes its place or does not.

Belongs here: what a task says about it, the machine that decides (pure), what it decides by, and its effects. Does not: how a model is
trained or tested on held-out data (`pp_assets.champion`), what starts a turn (`pp_sensors.flywheel`), how copies are made (the gateway).
"""
