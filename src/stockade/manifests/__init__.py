"""Files to model objects, with the position of everything that is wrong."""
