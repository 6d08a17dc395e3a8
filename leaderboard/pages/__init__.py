"""The leaderboard as a folder of pages: plans of blocks, plots as JSON, templates. It computes no statistic of its own."""
