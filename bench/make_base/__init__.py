"""The committed recipe of the shipped tiny base model: ``python -m bench.make_base --out FOLDER``."""
