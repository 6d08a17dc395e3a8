"""The leaderboard as a folder of pages: plans of blocks, plots as JSON, templates. No statistic is computed here."""
