"""The JSON:API shapes of the answers, by noun."""
