"""Each side of a connector alone, beside the usual client library."""
