"""What the second task says, and the image that both run in."""

WORDS = "one"
IMAGE = "ticket-extract"
