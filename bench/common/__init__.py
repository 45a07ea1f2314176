"""What speed and accuracy both need."""
