"""The engine: compile, evaluate, explain. Pure functions only."""
