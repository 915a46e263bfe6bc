"""The node agent: reflectors to state to rules in the kernel."""
