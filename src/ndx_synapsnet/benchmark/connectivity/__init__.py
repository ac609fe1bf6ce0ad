"""How well connectivity is recovered: from networks with known wiring, and recordings with a structural reference."""
