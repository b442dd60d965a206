"""The demo: the bundled receiver, a whole service, and the books of both compared."""
