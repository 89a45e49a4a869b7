"""The drop-in client: plan, candidates, features, rank, render, at opensearch-py's transport."""
