"""What agents ask leave for, and what they are answered."""
