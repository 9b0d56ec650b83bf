"""The search of a prompt: candidates are judged on training and validation rows, and one of them at most is tested."""
