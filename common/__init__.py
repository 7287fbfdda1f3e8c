"""What two rooms need, each thing once; imports nothing of them."""
