"""What survives a restart: deliveries that wait on disk, and those that are parked.

An embedded store (LMDB, ADR 0012). These modules block; workers call them in a thread.
"""
