"""Where documents live, behind opensearch-py's client: http(s)://host:port or embedded:PATH."""
