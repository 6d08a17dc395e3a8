"""What somebody with a network and images of their own asks for: a track from them, and which method is best on it."""
