"""The data path of one process without any I/O: where its microseconds go."""
