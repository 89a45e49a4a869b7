"""Model folders and the torch-free session that runs the trunk in them."""
