"""Many runs that answer one question: what is trained, in which order, what came of it, and what that says."""
