"""What a training step costs: operations, bytes that wait for the backward pass, parameters."""
