"""What it costs that a message crosses from one worker to another."""
