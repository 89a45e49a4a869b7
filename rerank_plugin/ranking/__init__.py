"""From candidates to an order: scorers, gates, the blend. Knows no engine and no JSON."""
