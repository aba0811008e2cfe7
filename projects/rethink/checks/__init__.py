"""What is wrong with a run, found before it starts: its config, its data, its weights, what it is resumed from."""
