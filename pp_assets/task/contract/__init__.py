"""What a good answer is, as a tree of dimensions that scores anything: derived from a task, edited and calibrated."""
