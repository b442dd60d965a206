"""What the benches stand on: processes seen through /proc, the machine's facts, reports."""
