"""What a trained detector finds in pictures and videos of one's own: ``tools/image_demo.py``."""
