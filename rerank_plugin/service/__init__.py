"""The model behind HTTP: what ``rerank serve`` runs."""
