"""Who the neurons are: ids, positions, regions, cell types and what recognises them elsewhere."""
