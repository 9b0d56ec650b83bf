"""Dynamic in-context learning: worked examples that grow from use, and those among them that an input is answered with.

`growth` decides what becomes an example and why not, `index` and `retriever` find those for an input, `head` blends what they say into an
encoder's probabilities, `systems` puts them before a language model, `shelf` keeps them in the store.
"""
