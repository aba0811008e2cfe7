"""What runs left behind, read and compared: nothing here trains."""
