"""The one engine: spans, context, streams, raw responses, errors and suppression, for every table."""
