"""Event logs: what people were shown and what they did, brought down to numbers per document."""
