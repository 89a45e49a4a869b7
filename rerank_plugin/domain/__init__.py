"""What the rooms exchange: frozen values and pure functions, standard library only."""
