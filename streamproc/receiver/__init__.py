"""The bundled HTTP receiver: takes what is pushed and keeps a ledger of it.

``python -m streamproc.receiver`` runs it: for the demo, for tests, and for whoever wants to see
that nothing is lost, doubled or out of order before the real endpoint is there.
"""
