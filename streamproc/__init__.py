"""Moves IoT messages between brokers and HTTP endpoints, in order and without loss.

Read in this order: ``worker/flow.py`` (the data path), ``connectors/base.py`` (what a
connector is), ``lang/`` (what users write), ``master/supervisor.py`` (who lives and dies).
"""

from streamproc import version

__all__ = ["__version__"]
__version__ = version.VERSION
