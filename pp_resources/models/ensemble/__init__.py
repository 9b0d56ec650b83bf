"""Several models as one: their answers combined field by field, or one of them chosen for each text."""
