"""Finding candidates by vectors, and fusing two rankings."""
