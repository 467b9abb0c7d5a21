"""What monitors watch and tell: alerts, and what metrics count."""
