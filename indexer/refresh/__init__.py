"""Features of an index kept up: what the application wrote since, and what new events and links say."""
