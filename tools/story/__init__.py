"""The story that tools/demo plays: who is in it, what they do, and what a thief gets of it."""
