"""What can be read off a program before it runs: what depends on what, and what it costs."""
