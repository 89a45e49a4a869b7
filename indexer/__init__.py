"""The writing side: sources, signals, enriched documents, vectors."""
