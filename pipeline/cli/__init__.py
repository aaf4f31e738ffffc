"""The command line `elo`: one file a group of commands. What they do is imported only when they run."""
