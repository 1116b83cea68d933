"""What every task stands on: settings, commands, progress, templates. Knows nothing of clusters' contents."""
