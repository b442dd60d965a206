"""Real brokers for tests: each a context manager on free ports in its own directory."""
