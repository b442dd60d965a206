"""How much later a message arrives because it goes through the service."""
