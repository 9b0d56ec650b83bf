"""A chat of an online shop's support on top of the gateway: an application to copy, and the users to try it with."""
