"""What everything stands on: errors, configurations, ranges, files, locks, progress, tallies."""
