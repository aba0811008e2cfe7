"""How long the steps of a chain are where nothing else is asked for."""

# Iterations in the paper: of steps with a base, of those from random initialisation, of those that train BN alone.
LENGTHS = dict(base=(50, 500, 5_000, 50_000), scratch=(5_000, 50_000, 100_000, 200_000), bn=(5_000,))
# Ours: the paper does not say from how many images the statistics are. 200 batches, as in detectron2's precise BN.
BN_IMAGES = 200 * 256
