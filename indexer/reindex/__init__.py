"""An existing index to an enriched copy behind the same alias, while the application goes on reading and writing."""
