"""What configs say: how they differ, from which line each value comes, and how one is written as a single file."""
